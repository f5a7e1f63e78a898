"""``python -m napari_segnet``: the command line."""

from napari_segnet.cli import main

if __name__ == "__main__":
    main()
