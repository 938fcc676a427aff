"""The exercises of Why compress."""

from __future__ import annotations

import statistics
from statistics import mean, median

from kdcourse.checks.exercise import Exercise, Mistake, Probe

# -- weight_megabytes ---------------------------------------------------------------------------


def weight_megabytes(parameters: int, bits: int) -> float:
    """Return the size of that many parameters of that many bits each, in megabytes (1 MB = 10^6 bytes)."""
    ### BEGIN SOLUTION
    size = parameters * bits / 8
    ### END SOLUTION
    ### BEGIN SOLUTION
    megabytes = size / 1e6
    ### END SOLUTION
    return megabytes


WEIGHT_MEGABYTES = Exercise(
    id="weight_megabytes",
    title="How many megabytes the weights take",
    solution=weight_megabytes,
    # Add an even number, so that half a byte stays half a byte.
    vary=lambda draw, n, bits: (n + 2 * draw.whole(1, 1 + n // 8), bits),
    probes=(
        Probe((1_000_000, 32), "for a million parameters of 32 bits"),
        Probe((25_450, 32), "for 25,450 parameters of 32 bits"),
        Probe((8_500_123, 16), "for 8,500,123 parameters of 16 bits"),
        Probe((272_474, 8), "for 272,474 parameters of 8 bits"),
        Probe((5, 4), "for 5 parameters of 4 bits"),
        Probe((100_001, 4), "for 100,001 parameters of 4 bits", extreme=True),
    ),
    absolute=1e-12,  # half a byte is 5e-7 MB
    mistakes=(
        Mistake(
            "bits for bytes",
            example=lambda n, bits: n * bits / 1e6,
            hint="a byte has eight bits.",
        ),
        Mistake(
            "mebibytes",
            example=lambda n, bits: n * bits / 8 / 2**20,
            hint="1 MB is 10^6 bytes here; 2^20 bytes are a mebibyte, MiB.",
        ),
        Mistake(
            "bytes for megabytes",
            example=lambda n, bits: n * bits / 8,
            hint="that is in bytes. Return megabytes.",
        ),
        Mistake(
            "kilobytes",
            example=lambda n, bits: n * bits / 8 / 1e3,
            hint="mega is a million; kilo is a thousand.",
        ),
        Mistake(
            "always four bytes",
            example=lambda n, bits: n * 4 / 1e6,
            hint="that assumes float32 for every parameter. The argument bits gives the size of each.",
        ),
        Mistake(
            "multiplied by eight",
            example=lambda n, bits: n * bits * 8 / 1e6,
            hint="from bits to bytes, do you multiply or divide by eight?",
        ),
        Mistake(
            "whole megabytes",
            example=lambda n, bits: float(n * bits // 8 // 1_000_000),
            hint="// and int() drop everything after the decimal point, and a small student has less than 1 MB.",
        ),
        Mistake(
            "whole bytes per parameter",
            example=lambda n, bits: n * (bits // 8) / 1e6,
            hint="a parameter of 4 bits takes half a byte: two of them fit in one byte.",
        ),
        Mistake(
            "whole bytes",
            example=lambda n, bits: n * bits // 8 / 1e6,
            hint="// and int() drop the half byte that an odd number of 4-bit parameters needs.",
        ),
        Mistake(
            "rounded",
            example=lambda n, bits: round(n * bits / 8 / 1e6, 2),
            hint="a small student has hundredths of a megabyte, so don't round here.",
        ),
    ),
)

# -- conv_macs ----------------------------------------------------------------------------------


def conv_macs(in_channels: int, out_channels: int, kernel: int, height: int, width: int) -> int:
    """Count the multiply-accumulates of a convolution with stride 1 and padding that keeps height and width."""
    ### BEGIN SOLUTION
    return out_channels * height * width * in_channels * kernel * kernel
    ### END SOLUTION


CONV_MACS = Exercise(
    id="conv_macs",
    title="How many multiplications a convolution takes",
    solution=conv_macs,
    vary=lambda draw, i, o, k, *size: (
        *(n + draw.whole(1, 7) for n in (i, o)),
        k,
        *(n + draw.whole(1, 6) for n in size),
    ),
    probes=(
        Probe((1, 8, 3, 28, 28), "for 1 to 8 channels, 3 x 3, on 28 x 28 pixels"),
        Probe((3, 16, 3, 10, 14), "for 3 to 16 channels, 3 x 3, on 10 x 14 pixels"),
        Probe((16, 4, 5, 7, 9), "for 16 to 4 channels, 5 x 5, on 7 x 9 pixels"),
        Probe((8, 8, 1, 6, 5), "for 8 to 8 channels, 1 x 1, on 6 x 5 pixels"),
        Probe((2, 3, 7, 8, 7), "for 2 to 3 channels, 7 x 7, on 8 x 7 pixels"),
    ),
    mistakes=(
        Mistake(
            "kernel not squared",
            example=lambda i, o, k, h, w: i * o * k * h * w,
            hint="the window is kernel pixels high and kernel pixels wide.",
        ),
        Mistake(
            "operations for multiply-accumulates",
            example=lambda i, o, k, h, w: 2 * i * o * k**2 * h * w,
            hint="one multiply-accumulate is a multiplication and an addition together, counted once.",
        ),
        Mistake(
            "image size forgotten",
            example=lambda i, o, k, h, w: i * o * k**2,
            hint="that is the number of weights. The window is used again at every pixel.",
        ),
        Mistake(
            "padding forgotten",
            example=lambda i, o, k, h, w: i * o * k**2 * (h - k + 1) * (w - k + 1),
            hint="the padding keeps the size. How many pixels does the output have?",
        ),
        Mistake(
            "input channels missing",
            example=lambda i, o, k, h, w: o * k**2 * h * w,
            hint="each output pixel uses a window in every input channel.",
        ),
        Mistake(
            "output channels missing",
            example=lambda i, o, k, h, w: i * k**2 * h * w,
            hint="there is one filter for each output channel.",
        ),
        Mistake(
            "channels added",
            example=lambda i, o, k, h, w: (i + o) * k**2 * h * w,
            hint="every output channel uses every input channel. How many pairs are there?",
        ),
        Mistake(
            "bias counted",
            example=lambda i, o, k, h, w: (i * k**2 + 1) * o * h * w,
            hint="this convolution has no bias, and adding one would need no multiplication.",
        ),
        Mistake(
            "image taken for a square",
            example=lambda i, o, k, h, w: i * o * k**2 * h * h,
            hint="an image may be wider than it is high.",
        ),
        Mistake(
            "window added to the image",
            example=lambda i, o, k, h, w: i * o * (k**2 + h * w),
            hint="the whole window is used at every pixel. Is that a sum or a product?",
        ),
    ),
)

# -- median_latency -----------------------------------------------------------------------------

_WARM_UP = 3


def median_latency(seconds: list[float]) -> float:
    """Return the median of the measured times without the first 3, in seconds."""
    ### BEGIN SOLUTION
    measured = seconds[3:]
    return statistics.median(measured)
    ### END SOLUTION


MEDIAN_LATENCY = Exercise(
    id="median_latency",
    title="A fair latency from many measurements",
    solution=median_latency,
    probes=(
        Probe(
            ([0.91, 0.52, 0.11304, 0.20717, 0.81, 0.10923, 0.35, 0.14],),
            "for 8 times, 5 of them after warm-up",
        ),
        Probe(
            ([1.21, 0.43, 0.32, 0.25381, 0.21, 0.93, 0.2, 0.27, 0.24192],),
            "for 9 times, 6 of them after warm-up",
        ),
        Probe(([0.01, 0.02, 0.03, 0.50149, 0.1, 0.20268, 0.9],), "where the first times are the shortest"),
        Probe(
            ([0.9, 0.6, 0.2, 0.30417, 0.30417, 0.4, 0.5, 0.30417],),
            "where one time was measured more than once",
        ),
        Probe(([0.51, 0.43, 0.32, 0.20671],), "where only one time is left after warm-up"),
    ),
    mistakes=(
        Mistake(
            "warm-up kept",
            example=lambda s: median(s),
            hint="the first measurements include caching and lazy loading. Did you leave them out?",
        ),
        Mistake(
            "mean for median",
            example=lambda s: mean(s[3:]),
            hint="one slow run, when the machine is busy, increases the mean. Which one is in the middle?",
        ),
        Mistake(
            "mean with warm-up",
            example=lambda s: mean(s),
            hint="two things: the first measurements are warm-up, and one slow run increases a mean.",
        ),
        Mistake(
            "fastest for typical",
            example=lambda s: min(s[3:]),
            hint="the shortest time is not typical. Return the one in the middle.",
        ),
        Mistake(
            "not sorted",
            example=lambda s: s[3:][len(s[3:]) // 2],
            hint="the middle of the list is the middle of the values only if the list is sorted.",
        ),
        Mistake(
            "upper of two in the middle",
            example=lambda s: sorted(s[3:])[len(s[3:]) // 2],
            hint="an even number of times has two values in the middle. Take their mean.",
        ),
        Mistake(
            "lower of two in the middle",
            example=lambda s: sorted(s[3:])[(len(s[3:]) - 1) // 2],
            hint="an even number of times has two values in the middle, and torch.median takes the lower one.",
        ),
        Mistake(
            "sorted before dropping",
            example=lambda s: median(sorted(s)[3:]),
            hint="after sorting, the first three are the three shortest times, not the warm-up.",
        ),
        Mistake(
            "last three dropped",
            example=lambda s: median(s[:-3]),
            hint="the warm-up comes first.",
        ),
        Mistake(
            "one dropped",
            example=lambda s: median(s[1:]),
            hint="how many of the first measurements count as warm-up?",
        ),
        Mistake(
            "two dropped",
            example=lambda s: median(s[2:]),
            hint="positions in a list are counted from 0. Which position does the fourth value have?",
        ),
        Mistake(
            "warm-up alone kept",
            example=lambda s: median(s[:3]),
            hint="[:3] gives the first three, the ones to leave out.",
        ),
        Mistake(
            "milliseconds",
            example=lambda s: 1000 * median(s[3:]),
            hint="the times are in seconds. Return seconds too.",
        ),
    ),
)

EXERCISES = (WEIGHT_MEGABYTES, CONV_MACS, MEDIAN_LATENCY)
