"""Make tensorflow_models.zip: small models as R's keras writes them, and what they answer.

Needs TensorFlow 2.15, the last one with Keras 2, which is why the files are kept: python make_tensorflow_models.py
"""

import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import tensorflow as tf

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "unit"))
from keras_networks import u_net, u_net_plusplus  # noqa: E402

SIDE = (16, 24)


def trained(model, images, classes, seed):
    """Learn three steps of noise, so that batch normalization has statistics."""
    generator = np.random.default_rng(seed)
    targets = np.eye(max(classes, 2))[generator.integers(0, max(classes, 2), images.shape[:3])]
    loss = "binary_crossentropy" if classes == 1 else "categorical_crossentropy"
    model.compile("sgd", loss)
    model.fit(images / 255, targets if classes > 1 else targets[..., 1:], epochs=3, verbose=0)
    return model


def main():
    tf.random.set_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (2, *SIDE, 3)).astype(np.uint8)
    platypus = u_net(tf.keras, SIDE, classes=3, dropout=0.1, up="transpose3")
    plusplus = u_net_plusplus(tf.keras, SIDE, blocks=2)
    answers = {"images": images}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trained(platypus, images, 3, seed=1).save(folder / "platypus.h5")
        platypus.save_weights(folder / "unet_model_weights", save_format="tf")
        trained(plusplus, images, 1, seed=2).save_weights(folder / "plusplus_weights.h5")
        for word, model in (("platypus", platypus), ("plusplus", plusplus)):
            answers[word] = model.predict(images / 255, verbose=0)
        np.savez(folder / "answers.npz", **answers)
        (folder / "checkpoint").unlink()
        with zipfile.ZipFile(HERE / "tensorflow_models.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for path in sorted(folder.iterdir()):
                archive.write(path, path.name)


if __name__ == "__main__":
    main()
