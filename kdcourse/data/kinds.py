"""The kinds of data sets that networks are trained on."""

from __future__ import annotations

from kdcourse.data.multilabel import MultiLabelDataset, MultiLabelSplit
from kdcourse.data.segmentation import MaskedSplit, SegmentationDataset
from kdcourse.data.splits import Dataset, Split

AnyDataset = Dataset | SegmentationDataset | MultiLabelDataset
LabelledSplit = Split | MaskedSplit | MultiLabelSplit
