"""Compare with Keras 3's own Distiller on its torch backend, for the same task.

Keras' example (Borup 2020, "Knowledge Distillation", keras.io) defined a Distiller, a model whose
train step runs the teacher for every batch. Since 3.12 Keras ships one, used here as its documentation shows:
LogitsDistillation with KLDivergence at our temperature (T^2 included),
``student_loss_weight`` for the labels, compile and fit on arrays in memory. Teacher and student are our
PyTorch networks in Keras' TorchModuleWrapper, so that both sides compute the same layers.

Weight decay is 0 on both sides, because Keras applies it separately from the gradient. Keras multiplies by the learning
rate before momentum, PyTorch after it, so Keras' steps lag behind the rate by about ten steps; in a run of a few dozen
steps this affects the accuracy. Keras' epochs end with an incomplete batch.
"""

from __future__ import annotations

import os
from typing import Any

from torch import nn

from benchmarks.harness import Measured, Settings, need
from benchmarks.task import Task, distilled, for_each_student, timed
from kdcourse.training.optimizers import one_cycle

REQUIREMENT = "keras>=3.12"


def keras() -> Any:
    """Import Keras with its torch backend."""
    need("keras", REQUIREMENT)
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    return keras


def as_keras(model: nn.Module, task: Task) -> Any:
    """Wrap a PyTorch network as a Keras model of images [B, C, H, W]."""
    layers = keras().layers
    wrapped = layers.TorchModuleWrapper(model, output_shape=(None, len(task.data.classes)))
    return keras().Sequential([layers.Input(task.data.image_shape), wrapped])


def distiller_for(task: Task, settings: Settings) -> Any:
    """Return Keras' Distiller for the task, compiled."""
    library = keras()
    total = settings["epochs"] * -(-len(task.data.train) // settings["batch_size"])

    def rate(_: Any, step: Any) -> float:
        share = one_cycle((float(step) + 1) / (total + 1), settings["warm_up"])
        return float(settings["learning_rate"] * share)

    # Keras is imported only now, so a class statement can't name its class.
    schedule = type("OneCycle", (library.optimizers.schedules.LearningRateSchedule,), {"__call__": rate})()
    distiller = library.distillation.Distiller(
        teacher=as_keras(task.teacher, task),
        student=as_keras(task.student, task),
        # Its default, the text "kl_divergence", takes the divergence of the logits themselves (Keras 3.15.1).
        distillation_losses=library.distillation.LogitsDistillation(
            temperature=settings["temperature"], loss=library.losses.KLDivergence()
        ),
        student_loss_weight=1 - settings["alpha"],
    )
    distiller.compile(
        optimizer=library.optimizers.SGD(schedule, momentum=0.9, nesterov=True),
        loss=library.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return distiller


def train(task: Task, settings: Settings) -> None:
    """Compile and fit."""
    library = keras()
    library.utils.set_random_seed(settings["seed"])
    pictures = task.data.normalise(task.data.train.images).contiguous().numpy()
    distiller = distiller_for(task, settings)
    distiller.fit(
        pictures,
        task.data.train.labels.numpy(),
        batch_size=settings["batch_size"],
        epochs=settings["epochs"],
        verbose=0,
    )


def by_keras(settings: Settings) -> Measured:
    """Run the task with Keras."""
    keras()
    return timed(train, settings)


BENCHMARKS = for_each_student(
    "keras_loop",
    "Keras' Distiller on PyTorch",
    {"kdcourse": distilled, "Keras Distiller": by_keras},
    weight_decay=0.0,
)
