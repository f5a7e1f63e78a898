"""The upper part of the dock: which images and labels, and what the labels mean."""

from __future__ import annotations

import tempfile
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QListWidget, QMenu, QToolButton

from napari_segnet import _layers
from napari_segnet._widgets import parts, snapshot
from napari_segnet._widgets.check_dialog import CheckDialog
from napari_segnet._widgets.data_choice import LayerPair
from napari_segnet._widgets.labelling import FilePair
from napari_segnet._widgets.load_dialog import LoadDialog
from napari_segnet._widgets.session import Session
from napari_segnet.errors import SegNetError
from napari_segnet.io.pairing import Pairing

_UNLABELLED = (("ignored", "ignore"), ("background", "background"))
_TASKS = (("classes", "semantic"), ("objects", "instances"))
_ROW_HEIGHT, _MOST_PAIRS_SHOWN = 15, 5
_AXES_WORDS = {"T": "time", "Z": "planes", "C": "channels", "Y": "rows", "X": "columns"}


class DataSection(parts.Section):
    """Images, labels, their meaning, and the list of pairs."""

    def __init__(self, session: Session) -> None:
        super().__init__("Images and labels")
        self._session = session
        data = session.data
        grid = parts.form()
        self.image = parts.combo("The image layer that is learned from and predicted.", data.choose_image)
        self.channels = QToolButton()
        self.channels.setText("+ channels")
        self.channels.setToolTip("Use further image layers of the same size as channels of this image.")
        # The arrow of the menu needs room beside the text.
        self.channels.setMinimumWidth(self.channels.fontMetrics().horizontalAdvance("+ channels") + 30)
        self.channels.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.channels.setMenu(QMenu(self.channels))
        self.channels.menu().aboutToShow.connect(self._fill_channels)
        grid.addWidget(QLabel("Image"), 0, 0)
        grid.addLayout(parts.row(self.image, self.channels, stretch=0), 0, 1)
        self.labels = parts.combo("The labels layer with your strokes or masks.", data.choose_labels)
        self.new = parts.button(
            "New",
            "Make an empty labels layer that lies on the image, and pick up the brush.",
            data.new_labels,
        )
        grid.addWidget(QLabel("Labels"), 1, 0)
        grid.addLayout(parts.row(self.labels, self.new, stretch=0), 1, 1)
        self.axes_label = QLabel("Axes")
        self.axes = parts.combo(
            "What the first axes are: planes are learned one by one, or as a volume by a network for volumes; "
            "channels are learned together.",
            data.choose_axes,
        )
        grid.addWidget(self.axes_label, 2, 0)
        grid.addWidget(self.axes, 2, 1)
        self.body.addLayout(grid)
        self.size = parts.words()
        self.body.addWidget(self.size)
        self._add_meaning()
        self._add_list()
        self._pages: list[tempfile.TemporaryDirectory[str]] = []

    def _add_meaning(self) -> None:
        self.unlabelled = parts.combo(
            "What a pixel without paint stands for. 'ignored': nobody said what it is, it takes no part in learning; "
            "paint strokes on every class. 'background': it is an example of background; paint all the rest.",
            lambda value: self._session.data.set_meaning(self._session.data.meaning.task, value),
            _UNLABELLED,
        )
        self.task = parts.combo(
            "What the numbers of the labels stand for. 'classes': kinds of things. 'objects': each object has a "
            "number of its own, and touching objects are told apart.",
            lambda value: self._session.data.set_meaning(value, self._session.data.meaning.unlabelled),
            _TASKS,
        )
        unpainted, values = QLabel("Unpainted"), QLabel("Values")
        self.body.addLayout(parts.row(unpainted, self.unlabelled, values, self.task, stretch=1))
        self.task.setMaximumWidth(96)
        self.meaning = parts.words()
        self.body.addWidget(self.meaning)

    def _add_list(self) -> None:
        self.load = parts.button(
            "Load files ...",
            "Learn from files or folders of images and masks. They are paired by name, and stay on disk.",
            self.ask_for_files,
        )
        self.add = parts.button(
            "Add pair to list",
            "Keep this image and its labels in the list, and choose another pair above: all are learned together.",
            self._add_pair,
        )
        self.check = parts.button(
            "Check ...",
            "Look through everything that would be learned from: what is wrong or odd, and what to do about it.",
            self.check_data,
        )
        self.body.addLayout(parts.row(self.load, self.add, self.check))
        self.list = QListWidget()
        self.list.setToolTip("All pairs that are learned from. Right-click to show one or to take it off the list.")
        self.list.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.list.customContextMenuRequested.connect(self._list_menu)
        self.list.itemDoubleClicked.connect(lambda item: self._show(self.list.row(item)))
        self.body.addWidget(self.list)
        self.unpaired = parts.words(colour=parts.WARNING)
        self.body.addWidget(self.unpaired)

    def refresh(self) -> None:
        """Show what the session holds."""
        data = self._session.data
        images, labels = data.images, data.labels
        parts.fill(self.image, [(x.name, x) for x in data.image_layers()], images[0] if images else None)
        parts.fill(self.labels, [(x.name, x) for x in data.labels_layers()], labels)
        self.channels.setText(f"{len(images)} channels" if len(images) > 1 else "+ channels")
        self.channels.setVisible(len(data.image_layers()) > 1)
        self.new.setEnabled(bool(images))
        choices = _layers.axes_choices(images[0], labels) if images else ()
        parts.fill(self.axes, [(_in_words(axes), axes) for axes in choices], data.current.axes)
        self.axes.setVisible(len(choices) > 1)
        self.axes_label.setVisible(len(choices) > 1)
        start = self._session.models.start
        spatial = start.axes if start is not None else self._session.settings.spatial
        size = _layers.in_words(images[0], data.current.axes, spatial) if images else ""
        parts.say(self.size, size if len(images) < 2 else f"{size}, {len(images)} layers as channels")
        parts.fill(self.unlabelled, _UNLABELLED, data.meaning.unlabelled)
        parts.fill(self.task, _TASKS, data.meaning.task)
        guess = "Guess: " if data.meaning_is_guess and data.meaning.words else ""
        parts.say(self.meaning, guess + data.meaning.words)
        self.add.setEnabled(bool(images) and labels is not None)
        self.check.setEnabled(bool(data.pairs) or (bool(images) and labels is not None))
        self._refresh_list()

    def _refresh_list(self) -> None:
        data = self._session.data
        titles = [_title(pair) for pair in data.pairs]
        if [self.list.item(i).text() for i in range(self.list.count())] != titles:
            self.list.clear()
            self.list.addItems(titles)
            self.list.setFixedHeight(min(len(titles), _MOST_PAIRS_SHOWN) * _ROW_HEIGHT + 6)
        self.list.setVisible(bool(titles))
        names = [path.name for path in data.unpaired]
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        parts.say(self.unpaired, f"Without a partner: {', '.join(names[:4])}{more}." if names else "")
        self.unpaired.setToolTip("\n".join(str(path) for path in data.unpaired))

    def _fill_channels(self) -> None:
        menu, data = self.channels.menu(), self._session.data
        menu.clear()
        for layer in data.image_layers():
            action = menu.addAction(layer.name)
            action.setCheckable(True)
            action.setChecked(layer in data.images)
            action.setEnabled(not data.images or layer is not data.images[0])
            action.toggled.connect(lambda on, layer=layer: self._toggle_channel(layer, on))

    def _toggle_channel(self, layer: object, on: bool) -> None:
        data = self._session.data
        kept = [image for image in data.images if image is not layer]
        # Channels keep the order of the layer list, whatever the order of the clicks.
        wanted = [x for x in reversed(data.image_layers()) if x in kept or (on and x is layer)]
        first = data.images[0]
        data.choose_channels([first, *(x for x in wanted if x is not first)])

    def _add_pair(self) -> None:
        try:
            self._session.data.add_current()
        except SegNetError as error:
            self._session.tell(error)

    def check_data(self) -> CheckDialog:
        """Open the window that looks through the data; the viewer stays free meanwhile."""
        self._pages.append(tempfile.TemporaryDirectory(prefix="napari-segnet-check-", ignore_cleanup_errors=True))
        dialog = CheckDialog(self._session, Path(self._pages[-1].name), self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        pairs = self._session.data.everything()
        dialog.pair_chosen.connect(lambda number: self._show_pair(pairs[number]))
        dialog.show()
        return dialog

    def ask_for_files(self) -> None:
        """Open the dialog of the Load button, and take over what it pairs."""
        dialog = LoadDialog(self)
        if dialog.exec():
            self.load_files(dialog.pairing)

    def load_files(self, pairing: Pairing) -> None:
        """Take over the pairs of files, and show the first so that there is something to see."""
        data = self._session.data
        data.add_files(pairing.pairs, (*pairing.unpaired_images, *pairing.unpaired_labels))
        if pairing.pairs and not data.images:
            index = next(i for i, pair in enumerate(data.pairs) if isinstance(pair, FilePair))
            self._show(index)

    def _list_menu(self, position: object) -> None:
        item = self.list.itemAt(position)
        if item is None:
            return
        index = self.list.row(item)
        menu = QMenu(self.list)
        menu.addAction("Show in the viewer", lambda: self._show(index))
        menu.addAction("Take off the list", lambda: self._session.data.remove(index))
        menu.addAction("Clear the list", self._session.data.clear_pairs)
        menu.exec(self.list.viewport().mapToGlobal(position))

    def _show(self, index: int) -> None:
        self._show_pair(self._session.data.pairs[index])

    def _show_pair(self, pair: LayerPair | FilePair) -> None:
        try:
            if isinstance(pair, FilePair):
                snapshot.show_files(self._session.viewer, self._session.data, pair)
            else:
                self._session.data.choose_pair(*pair.layers(), pair.axes)
        except SegNetError as error:
            self._session.tell(error)


def _in_words(axes: str) -> str:
    return " x ".join(_AXES_WORDS[axis] for axis in axes)


def _title(pair: LayerPair | FilePair) -> str:
    if isinstance(pair, FilePair):
        return f"{pair.image.name}  +  {pair.labels.name}"
    images, labels = pair.layers()
    return f"{' + '.join(i.name for i in images)}  +  {labels.name if labels is not None else '?'}  (layers)"
