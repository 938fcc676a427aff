"""Draw the results of benchmarks, in the style of `kdcourse.figures`."""
