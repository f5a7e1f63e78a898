"""What happens in one viewer: its data, its worker, its run and its answers. The docks only show it.

A state machine: `phase` says what is going on, `sentence` says it to the user. Docks call the methods and listen
to `changed` and `learned`. One session a viewer, however many docks it has.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from qtpy.QtCore import QObject, Signal

from napari_segnet import events
from napari_segnet._widgets import recovery, sentences, snapshot
from napari_segnet._widgets.answers import Answers
from napari_segnet._widgets.augmentation import AugmentationLayers, settings_of
from napari_segnet._widgets.client import WORKER, WorkerClient
from napari_segnet._widgets.data_choice import DataChoice
from napari_segnet._widgets.housekeeping import lighten_steps
from napari_segnet._widgets.model_choice import ModelChoice
from napari_segnet._widgets.offers import Offers
from napari_segnet._widgets.outputs import OutputLayers
from napari_segnet._widgets.prediction import Prediction
from napari_segnet._widgets.preferences import preference, settings_from_preferences
from napari_segnet._widgets.progress import Progress
from napari_segnet._widgets.scratch import Scratch
from napari_segnet._widgets.settings import Settings
from napari_segnet._widgets.steps import Steps
from napari_segnet._widgets.view_follower import ViewFollower
from napari_segnet.errors import SegNetError
from napari_segnet.models.info import ModelInfo, read_info
from napari_segnet.run import RunFolder, home

Phase = Literal["starting", "idle", "preparing", "training", "stopping", "predicting", "augmenting", "broken"]
BUSY: tuple[Phase, ...] = ("preparing", "training", "stopping", "predicting", "augmenting")


class Session(QObject):
    """The state of the plugin in one viewer.

    Parameters
    ----------
    viewer : napari viewer
        Held weakly.
    command : sequence of str
        How the worker is started.
    """

    changed = Signal()
    """Anything but the course of the training."""
    learned = Signal()
    """`progress` has something new."""

    def __init__(self, viewer: Any, command: Sequence[str] = WORKER) -> None:
        super().__init__()
        self._viewer = weakref.ref(viewer)
        self.client = WorkerClient(command, self)
        self.client.received.connect(self._on_event)
        self.client.died.connect(self._on_died)
        self.steps = Steps(self)
        self.outputs = OutputLayers(viewer)
        self.answers = Answers(viewer, self.outputs)
        self.data = DataChoice(viewer, self.outputs, self.steps, self, lambda: self.settings.spatial)
        self.data.changed.connect(self.changed)
        self.settings = settings_from_preferences()
        self.models = ModelChoice(self.settings)
        self.progress = Progress()
        self.phase: Phase = "starting"
        self.sentence = "Starting the worker process ..."
        self.is_error = False
        self.notices: list[str] = []
        self.device, self.memory = "", 0
        self.resumable: RunFolder | None = None
        self._prediction: Prediction | None = None
        self.predicted: Prediction | None = None
        self._scratch = Scratch()
        self._augmentation: Path | None = None
        self._augmentations = 0
        self.augmentation_layers = AugmentationLayers(viewer)
        self.view = ViewFollower(viewer, self.client, self.data, self.answers, lambda: self.phase == "training", self)
        self.offers = Offers(lambda: not self.busy and self.resumable is None, self)
        self.offers.changed.connect(self.changed)
        self._closed = False
        self._docks: set[object] = set()

    # ---------------------------------------------------------------- lifetime

    @property
    def viewer(self) -> Any:
        """The viewer, None when it is gone."""
        return self._viewer()

    def attach(self) -> Callable[[], None]:
        """Count one more dock; returns what it calls when it is gone. The last one to go closes the session."""
        token = object()
        self._docks.add(token)
        if self._closed:
            self._closed = False
            self.phase, self.sentence, self.is_error = "starting", "Starting the worker process ...", False
            self.data.count()

        def detach(_gone: Any = None) -> None:
            if token in self._docks:
                self._docks.remove(token)
                # When the interpreter ends, Qt's part of the session may be gone before the dock; so is the worker.
                with contextlib.suppress(RuntimeError):
                    if not self._docks:
                        self.close()

        return detach

    def begin(self) -> None:
        """Start the worker and look for an interrupted run; docks call this once they are shown."""
        if self._closed or self.client.alive:
            return
        self.client.start()
        self.offers.look()
        self.steps.run("left over", self._scratch.left_over_steps())
        self.steps.run("old runs", lighten_steps(home(), preference("training", "keep_runs", 20)))

    def close(self) -> None:
        """End the worker and forget everything that is going on; the run folder keeps what was learned."""
        self._closed = True
        self.steps.cancel()
        self.view.stop()
        self.offers.stop()
        self.resumable, self.notices, self.progress = None, [], Progress()
        self._scratch.give_up()
        self._prediction, self._augmentation, self.device = None, None, ""
        self.client.close()
        self.phase = "starting"

    @property
    def busy(self) -> bool:
        """Whether a job is going on."""
        return self.phase in BUSY

    # ---------------------------------------------------------------- training

    def train(self) -> None:
        """Write the run folder from what is painted now, and have the worker learn it."""
        self._begin(self.settings)

    def improve(self) -> None:
        """Let the model that predicts learn on, with what is painted now: after corrections."""
        if self.models.path is not None:
            self._begin(replace(self.settings, start_from=self.models.path))

    def _begin(self, settings: Settings) -> None:
        if self.busy or self._closed:
            return
        try:
            start = self._checked_start(settings)
        except SegNetError as error:
            self._say_error(error)
            return
        self._set("preparing", "Saving your images and strokes ...")
        self.notices, self.progress, self.offers.run = [], Progress(), None
        self.learned.emit()
        written = snapshot.Written()
        steps = snapshot.write_run(self.data, settings, start, home(), written)
        self.steps.run("snapshot", steps, lambda: self._train(written), self._on_job_failed)

    def _checked_start(self, settings: Settings) -> ModelInfo | None:
        """Return what the model to start from says of itself; raises `SegNetError` if these data can't be learned."""
        start = None if settings.start_from is None else read_info(settings.start_from)
        self.data.follow(start)
        # What was painted in the last moment isn't counted yet; the snapshot counts again, and checks.
        if not self.data.counting:
            self.data.check(start)
        return start

    def _train(self, written: snapshot.Written) -> None:
        if written.run is not None:
            self.answers.shown = written.shown
            self._execute(written.run)

    def _execute(self, run: RunFolder) -> None:
        self.models.begin(run)
        self.resumable = run
        recovery.welcome(run)
        self.client.start()
        waiting = "" if self.device else " The worker is loading its libraries; this takes some seconds once."
        self._set("training", f"Preparing the data ...{waiting}")
        self.client.send("train", run=str(run.path))
        self.view.restart()

    def resume(self) -> None:
        """Go on with the run that was stopped or interrupted, from its last checkpoint."""
        run = self.resumable
        if run is None or self.busy or self._closed:
            return
        self.progress = Progress.of(run)
        self.learned.emit()
        self._execute(run)

    def restore(self, resume: bool) -> None:
        """Bring back the layers of the run that is offered, and go on with it if asked to."""
        run = self.offers.take()
        if run is None or self.viewer is None:
            return
        try:
            self.answers.shown = recovery.bring_back(self.viewer, run, self.data)
        except SegNetError as error:
            self._say_error(error)
            return
        self.models.begin(run)
        self.resumable = run
        if resume:
            self.resume()
        else:
            recovery.dismiss(run)
            self.say("Your images and strokes are back.")

    def stop(self) -> None:
        """Ask the worker to finish its step and save, or drop what is being prepared."""
        if self.phase == "preparing":
            self._drop_preparation()
            self._end_prediction()
            self._end_augmentation()
            self._set("idle", "Stopped.")
        elif self.phase in ("training", "predicting", "augmenting"):
            was_training = self.phase == "training"
            self.client.send("stop")
            self._set("stopping", "Finishing the step and saving ..." if was_training else "Stopping ...")

    def preview_augmentation(self) -> None:
        """Show what augmentation does to patches of the images, as it is set now; each call shows other changes."""
        if self.busy or self._closed:
            return
        try:
            start = self._checked_start(self.settings)
        except SegNetError as error:
            self._say_error(error)
            return
        self._augmentation, written = self._scratch.new_folder(), snapshot.Written()
        self._set("preparing", "Handing the images over ...")
        settings = settings_of(self.settings, start)
        steps = snapshot.write_run(self.data, settings, start, self._augmentation, written)
        self.steps.run("snapshot", steps, lambda: self._augment(written), self._on_job_failed)

    def _augment(self, written: snapshot.Written) -> None:
        if written.run is not None:
            self._augmentations += 1
            self.client.start()
            self._set("augmenting", "Augmenting some patches ...")
            self.client.send("preview-augmentation", run=str(written.run.path), seed=self._augmentations)

    def _end_augmentation(self) -> bool:
        """Forget the preview of augmentation that is going on; returns whether there was one."""
        folder, self._augmentation = self._augmentation, None
        if folder is not None:
            self.steps.run(f"remove {folder.name}", self._scratch.remove_steps(folder))
        return folder is not None

    # -------------------------------------------------------------- predicting

    def use_model(self, path: Path | None) -> None:
        """Predict with a model file or a run folder; None: with the last run's model."""
        self._try(lambda: self.models.open(path))

    def save_model(self, path: Path) -> None:
        """Copy the model to a file of its own."""
        self._try(lambda: self.models.save(path))

    def predict(self, after: str = "") -> None:
        """Apply the model to the chosen image, or to all pairs; `after` is the sentence of a training just ended."""
        if self.busy or self._closed:
            return
        try:
            info = self.models.info()
            wanted = snapshot.wanted_inputs(self.data, self.settings.all_pairs)
            snapshot.check_inputs(wanted, info)
        except SegNetError as error:
            self._say_error(error)
            return
        folder = self._scratch.new_folder()
        prediction = self._prediction = Prediction(folder, len(wanted), after=after, wanted=wanted)
        inputs: list[dict[str, Any]] = []
        self._set("preparing", "Handing the images over ...")
        steps = snapshot.write_inputs(self.viewer, wanted, prediction.out, inputs, self.answers.shown_for_prediction)
        self.steps.run("inputs", steps, lambda: self._predict(prediction, inputs), self._on_job_failed)

    def predict_files(self, images: Sequence[Path], out: Path) -> None:
        """Apply the model to image files, and write the answers into a folder as at the shell."""
        if self.busy or self._closed or not images:
            return
        self._predict(Prediction(out, len(images), keeps=True, wanted=images), [str(path) for path in images])

    def _predict(self, prediction: Prediction, inputs: Sequence[Any]) -> None:
        try:
            info, model = self.models.info(), self.models.path
        except SegNetError as error:
            self._on_job_failed(error)
            return
        if model is None:
            return
        self._prediction, self.predicted, self.notices = prediction, prediction, []
        # A model of objects is asked for objects.
        instances = self.settings.instances or info.task == "instances"
        if not prediction.keeps:
            self.answers.classes, self.answers.instances = info.classes, instances
        self.client.start()
        self._set("predicting", "Predicting ...")
        self.client.send(**prediction.command(model, inputs, self.settings, instances))

    # ------------------------------------------------------------------ events

    def _on_event(self, event: events.Event) -> None:
        handler = getattr(self, f"_on_{event.kind.replace('-', '_')}", None)
        if handler is not None and not self._closed:
            handler(event)

    def _on_ready(self, event: events.Ready) -> None:
        self.device, self.memory = event.device, event.memory
        if self.phase == "starting":
            self._set("idle", f"Ready. Learning runs on: {event.device}.")
        else:
            self.changed.emit()

    def _on_started(self, event: events.Started) -> None:
        self.progress.begin(event)
        self.answers.classes = self.models.run.config.data.classes if self.models.run is not None else ()
        self.view.restart()
        if self.phase != "stopping":
            self._set("training", "")
        self.learned.emit()

    def _on_notice(self, event: events.Notice) -> None:
        if event.text not in self.notices:
            self.notices.append(event.text)
            self.changed.emit()

    def _on_step(self, event: events.Step) -> None:
        self.progress.step(event)
        self.learned.emit()

    def _on_epoch(self, event: events.Epoch) -> None:
        self.progress.epoch(event)
        self.learned.emit()

    def _on_preview(self, event: events.Preview) -> None:
        steps = self.answers.preview_steps(event)
        self.steps.run("preview", steps, self._pass_on_what_was_said)

    def _on_progress(self, event: events.Progress) -> None:
        if self.phase == "predicting" and self._prediction is not None:
            self._set("predicting", self._prediction.progress(event))

    def _on_predicted(self, event: events.Predicted) -> None:
        if self._prediction is not None:
            self._prediction.done += 1
            if self._prediction.keeps:
                return
        self.steps.run(f"show {event.name}", self.answers.show_steps(event), self._pass_on_what_was_said)

    def _on_augmented(self, event: events.Augmented) -> None:
        if self._augmentation is not None:
            self.augmentation_layers.show(event, self.data.images[0] if self.data.images else None)

    def _on_finished(self, event: events.Finished) -> None:
        if self._end_augmentation():
            done = "Augmented patches are shown beside the image: a row a place, the unchanged patch first."
            self._set("idle", "Stopped." if event.reason == "stopped" else done)
            return
        if self._prediction is not None:
            words = self._prediction.end(event.reason)
            self._end_prediction()
            self._set("idle", words)
            return
        self.resumable = self.models.run if event.reason == "stopped" else None
        if event.reason == "stopped" and self.models.run is not None:
            # She pressed Stop: the next start needn't ask her about it.
            recovery.dismiss(self.models.run)
        self.settings.model = None
        if self.settings.start_from is not None and self.settings.start_from == self.models.earlier:
            # "The last run's model" means the last one, also after another run.
            self.settings.start_from = self.models.last
        self._set("idle", sentences.end_of(event.reason, self.progress))
        if self.settings.predict_when_finished and self.models.path is not None and self.data.images:
            self.predict(after=self.sentence)

    def _end_prediction(self) -> None:
        prediction, self._prediction = self._prediction, None
        if prediction is not None and not prediction.keeps:
            # Queued behind the layers that are still being filled from it.
            self.steps.run(f"remove {prediction.out.name}", self._scratch.remove_steps(prediction.out))

    def _on_failed(self, event: events.Failed) -> None:
        was, prediction = self.phase, self._prediction
        self._drop_preparation()
        self._end_prediction()
        augmented = self._end_augmentation()
        run = self.models.run
        if run is not None and prediction is None and not augmented and was in ("training", "stopping"):
            # Such as a full disk: once mended, it can go on.
            self.resumable = run if recovery.epochs_done(run) else None
            if self.resumable is None:
                recovery.dismiss(run)
        rest = prediction.rest() if prediction is not None else ""
        if event.bug:
            where = f"Details are in {self.client.log}. {rest}"
            self._say_error(SegNetError(f"The worker failed: {event.problem}", where), "idle")
        else:
            self._say_error(SegNetError(event.problem, f"{event.remedy} {rest}"), "idle")

    def _on_died(self, how: str) -> None:
        was, loaded, prediction = self.phase, bool(self.device), self._prediction
        self.device = ""
        said = self.sentence if self.is_error else ""
        if was == "preparing":
            # What is being prepared goes on: the worker starts again when it is ready.
            self._set(was, sentences.death(how, was, loaded, said, self.client.log), is_error=True)
            return
        self._end_prediction()
        if self._end_augmentation():
            was = "augmenting"
        if prediction is not None:
            was = "predicting"
        words = sentences.death(how, was, loaded, said, self.client.log)
        if was in ("training", "stopping"):
            self.resumable = self.models.run
            self._set("broken" if loaded else "idle", words, is_error=True)
        else:
            rest = prediction.rest() if prediction is not None else ""
            self._set("idle", f"{words} {rest}".strip(), is_error=True)

    def _drop_preparation(self) -> None:
        self.steps.cancel("snapshot")
        self.steps.cancel("inputs")

    def _on_job_failed(self, error: SegNetError) -> None:
        self._end_prediction()
        self._end_augmentation()
        self._say_error(error, "idle")

    # ------------------------------------------------------------------- words

    def _try(self, action: Callable[[], str]) -> None:
        try:
            self.say(action())
        except SegNetError as error:
            self._say_error(error)

    def _set(self, phase: Phase, sentence: str, is_error: bool = False) -> None:
        self.phase, self.sentence, self.is_error = phase, sentence, is_error
        self.changed.emit()

    def say(self, sentence: str) -> None:
        """Show the user a sentence."""
        self._set(self.phase, sentence)

    def tell(self, error: SegNetError) -> None:
        """Show the user an error that happened in a dock."""
        self._say_error(error)

    def _say_error(self, error: SegNetError, phase: Phase | None = None) -> None:
        self._set(phase or self.phase, str(error), is_error=True)

    def _pass_on_what_was_said(self) -> None:
        for sentence in self.outputs.take_said():
            if sentence not in self.notices:
                self.notices.append(sentence)
                self.changed.emit()
