"""The kinds of data sets that networks are trained on."""

from __future__ import annotations

from kdcourse.data.multilabel import MultiLabelDataset, MultiLabelSplit
from kdcourse.data.segmentation import MaskedSplit, SegmentationDataset
from kdcourse.data.splits import Dataset, Split
from kdcourse.data.text import TextDataset, TokenSplit

AnyDataset = Dataset | SegmentationDataset | MultiLabelDataset | TextDataset
LabelledSplit = Split | MaskedSplit | MultiLabelSplit | TokenSplit
