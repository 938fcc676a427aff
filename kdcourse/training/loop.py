"""The one training loop of the course."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from kdcourse.data import AnyDataset
from kdcourse.training.guards import own_random_numbers
from kdcourse.training.history import History
from kdcourse.training.labels import chosen_loss
from kdcourse.training.objective import Objective, check_loss, cross_entropy
from kdcourse.training.run import Options, Run
from kdcourse.training.settings import Settings


def fit(
    model: nn.Module,
    data: AnyDataset,
    settings: Settings | None = None,
    *,
    objective: Objective = cross_entropy,
    checkpoint: Path | str | None = None,
    checkpoint_every: int | None = None,
    prolong: bool = False,
    progress: bool | str = True,
    after_step: Callable[[int, int, float], None] | None = None,
    after_epoch: Callable[[History], None] | None = None,
    **changes: Any,
) -> History:
    """Train ``model`` in place on ``data.train`` and leave it in eval mode, on its device.

    Everything random follows from ``seed`` (order, views, dropout) and from the model's initial weights. Parts of a
    model in training mode that are in eval mode themselves (``model.norm.eval()``) stay so: they are frozen on
    purpose. A model that is in eval mode as a whole is put into training mode.

    Args:
        model: float32 [B, C, H, W] -> logits [B, num_classes], for segmentation [B, num_classes, H, W]; for a text
            tokens int64 [B, T] -> logits [B, T, V].
        data: images and labels, masks, any number of labels per image, or a text; ``data.validation`` is evaluated
            after every epoch.
        settings: how to train; or pass each of the `Settings` by name, such as ``epochs=3``.
        objective: ``(logits float32, batch) -> scalar`` to minimise, or ``-> {"loss": scalar, ...}`` whose further
            scalars are recorded by name. The parameters of an ``nn.Module`` are trained, stored in checkpoints and
            averaged over processes with the model's, and never become a part of it; freeze what must not learn.
        checkpoint: file to resume from, if there, and to write to; weights end bit for bit as if the
            run had never stopped. The file stays when the run is complete.
        checkpoint_every: steps between checkpoints; by default one per epoch.
        prolong: continue the finished run of ``checkpoint`` to more ``epochs``, all other settings being the same. The
            images keep coming in the order and views that a run of so many epochs shows. So does the learning rate:
            it had fallen to 0, and goes back to where such a run would be by now, to fall to 0 again at the new end.
            The result isn't that of a run which was planned as long, so ``settings["prolonged"]`` of the history lists
            the epochs at which the run had ended before, such as ``[4]``. The same call resumes an interrupted
            continuation; the finished run can be prolonged again.
        progress: show a bar; a string is its label.
        after_step: called with epoch, step and its loss after each step, the checkpoint written.
        after_epoch: called with the history after each epoch, the checkpoint written; the model holds that epoch's
            weights, whatever is kept in the end. What either of them raises ends
            the run.
        changes: `Settings` by name, over those of ``settings``.

    Returns:
        One record per epoch, and the settings; with ``keep="best"``, `History.kept` is the epoch that was kept.

    Raises:
        ArgumentError: an unknown or unusable setting, settings of the labels' loss beside an objective of your own,
            images that the model can't take, fewer logits than classes, an objective that isn't one number with a
            gradient.
        CheckpointError: the checkpoint is damaged, of another run, or perhaps of another objective; with ``prolong``,
            it isn't there, or its run hasn't ended.
        DivergedError: the loss stopped being a finite number.
    """
    settings = Settings.of(settings, changes)
    objective = chosen_loss(objective, settings, data)
    options = Options(checkpoint, checkpoint_every, prolong, progress, after_step, after_epoch)
    with own_random_numbers(settings.seed):
        run = Run(model, data, settings, objective, options)
        with run.bar:
            for batches in run.epochs():
                for batch in batches:
                    run.set_learning_rate()
                    logits = run.forward(batch)
                    loss, parts = check_loss(objective(logits, batch))
                    run.optimizer.zero_grad(set_to_none=True)
                    run.backward(loss)
                    run.optimizer.step()
                    run.book(batch, logits, loss, parts)
    run.finish()
    return run.history
