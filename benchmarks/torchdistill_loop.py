"""Compare with torchdistill 1.1.5 (Matsubara 2021, https://arxiv.org/abs/2011.12913), for the same task.

Used, as in its examples: the DistillationBox from a configuration; its own DataLoader
(RandomSampler, two workers, the images' transforms one by one); the dictionaries in which it
collects both models' outputs ("." is the whole model, which needs no forward hook);
WeightedSumLoss over its KDLoss, whose ``alpha`` weighs the labels; SGD and LambdaLR from its
registries, the rate set at every step; its processes before and after epochs and forward passes.
Not used: its YAML files, its accelerate branch and its logging of metrics, none of which the method
needs.

The images and transforms are those of the tutorial loop. Weight decay is 0 on both sides, since
torchdistill's optimiser takes the student's parameters as one group.
"""

from __future__ import annotations

import logging
from typing import Any

import torch

from benchmarks.harness import Measured, Settings, need
from benchmarks.task import Task, distilled, for_each_student, timed
from benchmarks.tutorial_loop import Pictures
from kdcourse.training.optimizers import one_cycle

REQUIREMENT = "torchdistill==1.1.5"


def configuration(settings: Settings, steps: int) -> dict[str, Any]:
    """Return what a YAML file of torchdistill would hold; ``steps`` per epoch."""
    total = settings["epochs"] * steps
    return {
        "num_epochs": settings["epochs"],
        "train_data_loader": {
            "dataset_id": "train",
            "sampler": {"class_or_func": torch.utils.data.RandomSampler},
            "kwargs": {"batch_size": settings["batch_size"], "num_workers": 2, "drop_last": True},
        },
        "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False},
        "student": {"forward_proc": "forward_batch_only", "requires_grad": True},
        "optimizer": {
            "key": "SGD",
            "kwargs": {"lr": settings["learning_rate"], "momentum": 0.9, "nesterov": True,
                       "weight_decay": settings["weight_decay"]},
        },
        "scheduler": {
            "key": "LambdaLR",
            "kwargs": {"lr_lambda": lambda step: one_cycle((step + 1) / (total + 1), settings["warm_up"])},
            "scheduling_step": 1,
        },
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"kd": {
            "criterion": {"key": "KDLoss", "kwargs": {
                "student_module_path": ".", "student_module_io": "output",
                "teacher_module_path": ".", "teacher_module_io": "output",
                "temperature": settings["temperature"], "alpha": 1 - settings["alpha"], "reduction": "batchmean",
            }},
            "weight": 1.0,
        }}}},
    }  # fmt: skip


def box_for(task: Task, settings: Settings) -> Any:
    """Return a DistillationBox for the task."""
    from torchdistill.core.distillation import get_distillation_box

    logging.getLogger("torchdistill").setLevel(logging.ERROR)
    steps = len(task.data.train) // settings["batch_size"]
    return get_distillation_box(
        task.teacher.eval(), task.student, {"train": Pictures(task.data.train, task.data)},
        configuration(settings, steps), torch.device("cpu"), None, False, 1,
    )  # fmt: skip


def train(task: Task, settings: Settings) -> None:
    """Run the loop of torchdistill's examples."""
    box = box_for(task, settings)
    for epoch in range(box.num_epochs):
        box.pre_epoch_process(epoch=epoch)
        for images, labels, supplementary in box.train_data_loader:
            box.pre_forward_process()
            loss = box.forward_process(images, labels, supplementary)
            box.post_forward_process(loss)
        box.post_epoch_process()
    box.clean_modules()


def torchdistill(settings: Settings) -> Measured:
    """Run the task with torchdistill."""
    need("torchdistill", REQUIREMENT)
    return timed(train, settings)


BENCHMARKS = for_each_student(
    "torchdistill_loop",
    "torchdistill's own loop",
    {"kdcourse": distilled, "torchdistill 1.1.5": torchdistill},
    weight_decay=0.0,
)
