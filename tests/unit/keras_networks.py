"""Networks of other tools, built with Keras: as R's imageseg and platypus, and workshops, define them."""


def u_net(
    keras,
    side=(32, 48),
    channels=3,
    classes=1,
    filters=2,
    blocks=2,
    layers=2,
    norm=True,
    dropout=0.0,
    up="transpose2",
    skip_first=False,
    end=None,
    epsilon=1e-3,
    shifts=True,
    activation="relu",
):
    """u_net() of imageseg; of platypus with up="transpose3" and a dropout that is always there."""
    of = keras.layers

    def block(x, width):
        for _ in range(layers):
            x = of.Conv2D(width, 3, padding="same", kernel_initializer="he_normal", use_bias=shifts)(x)
            if norm:
                x = of.BatchNormalization(epsilon=epsilon, scale=shifts, center=shifts)(x)
            x = of.Activation(activation)(x)
        return x

    def drop(x):
        return of.Dropout(dropout)(x) if dropout else x

    def upsampled(x, width):
        if up == "copy":
            return of.UpSampling2D((2, 2))(x)
        return of.Conv2DTranspose(width, int(up[-1]), strides=2, padding="same")(x)

    image = x = keras.Input((*side, channels), name="input_img")
    skips = []
    for level in range(blocks):
        x = block(x, filters * 2**level)
        skips.append(x)
        x = drop(of.MaxPooling2D(2)(x))
    x = block(x, filters * 2**blocks)
    for level in reversed(range(blocks)):
        pair = [upsampled(x, filters * 2**level), skips[level]]
        x = drop(of.Concatenate()(pair[::-1] if skip_first else pair))
        x = block(x, filters * 2**level)
    end = end or ("sigmoid" if classes == 1 else "softmax")
    return keras.Model(image, of.Conv2D(classes, 1, activation=end)(x))


def u_net_plusplus(keras, side=(32, 48), channels=3, classes=1, filters=2, blocks=2, convolve=False):
    """u_net_plusplus() of imageseg 0.5.0, where a node's convolution is made and not used; or used."""
    of = keras.layers

    def convolved(x, width, name=None):
        x = of.Conv2D(width, 3, padding="same", activation="relu", kernel_initializer="he_normal")(x)
        return of.BatchNormalization(name=name)(x)

    def node(below, left, width, name):
        x = of.Conv2DTranspose(width, 3, strides=2, padding="same", activation="relu")(below)
        joined = of.Concatenate()([of.BatchNormalization()(x), *left])
        answer = convolved(joined, width, name)
        return answer if convolve else joined

    image = keras.Input((*side, channels), name="input_img")
    made = {}
    for level in range(blocks + 1):
        x = of.MaxPooling2D(2)(made[level - 1, 0]) if level else image
        made[level, 0] = convolved(convolved(x, filters * 2**level), filters * 2**level, f"conv{level}_0")
    for stage in range(1, blocks + 1):
        for n in range(1, stage + 1):
            level = stage - n
            left = [made[level, k] for k in reversed(range(n))]
            made[level, n] = node(made[level + 1, n - 1], left, filters * 2**level, f"conv{level}_{n}")
    end = "sigmoid" if classes == 1 else "softmax"
    return keras.Model(image, of.Conv2D(classes, 1, activation=end)(made[0, blocks]))


def workshop(keras, side=(32, 48), channels=1, width=2, rates=(0.1, 0.1, 0.2, 0.2, 0.3)):
    """The U-Net of workshops."""
    of = keras.layers

    def convolved(x, level):
        return of.Conv2D(width * 2**level, (3, 3), activation="relu", kernel_initializer="he_uniform", padding="same")(
            x
        )

    def block(x, level):
        return convolved(of.Dropout(rates[level])(convolved(x, level)), level)

    image = x = keras.Input((*side, channels))
    skips = []
    for level in range(4):
        x = block(x, level)
        skips.append(x)
        x = of.MaxPooling2D((2, 2))(x)
    x = block(x, 4)
    for level in reversed(range(4)):
        x = of.Conv2DTranspose(width * 2**level, (2, 2), strides=(2, 2), padding="same")(x)
        x = block(of.Concatenate()([x, skips[level]]), level)
    return keras.Model(image, of.Conv2D(1, (1, 1), activation="sigmoid")(x))
