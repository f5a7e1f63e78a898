"""Images and labels: reading, pairing, writing. Knows neither torch nor napari."""
