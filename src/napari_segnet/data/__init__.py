"""From annotated images to patches: pairs, normalization, leak-free split, sampling, augmentation."""
