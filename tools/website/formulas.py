r"""List the formulas of the API reference in LaTeX.

Each is inserted below the first sentence of its docstring. $z$ are the student's logits, $v$ the teacher's, $y$ the
label, $T$ the temperature, $B$ the images of a batch, $C$ the classes, $\mathcal{C}$ those that occur.
"""

from __future__ import annotations

FORMULAS: dict[str, str] = {
    "kdcourse.distillation.softened": r"q_i = \frac{e^{z_i / T}}{\sum_j e^{z_j / T}}",
    "kdcourse.distillation.entropy": r"H(q) = -\sum_i q_i \log q_i, \qquad q = \mathrm{softmax}(z / T)",
    "kdcourse.distillation.softened_mean": r"\mathrm{softmax}\Bigl(\frac{1}{T M} \sum_m z_m\Bigr)",
    "kdcourse.distillation.mean_softened": r"\frac{1}{M} \sum_m \mathrm{softmax}\Bigl(\frac{z_m}{T}\Bigr)",
    "kdcourse.distillation.kd_divergence": (
        r"\frac{T^2}{B} \sum_b \sum_i p_{bi} \bigl(\log p_{bi} - \log q_{bi}\bigr), \qquad "
        r"p_b = \mathrm{softmax}(v_b / T), \quad q_b = \mathrm{softmax}(z_b / T)"
    ),
    "kdcourse.distillation.hinton_loss": (
        r"\alpha\, T^2 \,\mathrm{KL}\bigl(\mathrm{softmax}(v / T) \,\big\|\, \mathrm{softmax}(z / T)\bigr) "
        r"+ (1 - \alpha) \,\mathrm{CE}(z, y)"
    ),
    "kdcourse.training.CrossEntropy": (
        r"-\frac{\sum_b \sum_i w_i\, t_{bi} \log \mathrm{softmax}(z_b)_i}{\sum_b w_{y_b}}, \qquad "
        r"t_{bi} = (1 - \varepsilon)\,[i = y_b] + \varepsilon / C"
    ),
    "kdcourse.distillation.dkd_loss": (
        r"w\, T^2 \,\mathrm{KL}\bigl([p_t, 1 - p_t] \,\big\|\, [q_t, 1 - q_t]\bigr) "
        r"+ \beta\, T^2 \,\mathrm{KL}\bigl(p' \,\big\|\, q'\bigr), \qquad p'_i = \frac{p_i}{1 - p_t}"
    ),
    "kdcourse.distillation.pixelwise_loss": (
        r"\frac{1}{P} \sum_{b,h,w} \Bigl[\alpha\, T^2 \,\mathrm{KL}\bigl(\mathrm{softmax}(v_{bhw} / T) \,\big\|\, "
        r"\mathrm{softmax}(z_{bhw} / T)\bigr) + (1 - \alpha) \,\mathrm{CE}(z_{bhw}, y_{bhw})\Bigr]"
    ),
    "kdcourse.distillation.channelwise_loss": (
        r"\frac{T^2}{B C} \sum_{b,c} \sum_{h,w} p_{bchw} \bigl(\log p_{bchw} - \log q_{bchw}\bigr), \qquad "
        r"\sum_{h,w} p_{bchw} = \sum_{h,w} q_{bchw} = 1"
    ),
    "kdcourse.distillation.pairwise_loss": (
        r"\frac{1}{N^2} \sum_{i,j} \bigl(a^{\mathrm{student}}_{ij} - a^{\mathrm{teacher}}_{ij}\bigr)^2, \qquad "
        r"a_{ij} = \frac{f_i \cdot f_j}{\lVert f_i \rVert \, \lVert f_j \rVert}"
    ),
    "kdcourse.distillation.cross_image_loss": (
        r"\frac{1}{N B} \sum_{n,j} \mathrm{KL}\bigl(\mathrm{softmax}(a^{\mathrm{teacher}}_{nj} / T) \,\big\|\, "
        r"\mathrm{softmax}(a^{\mathrm{student}}_{nj} / T)\bigr), \qquad "
        r"a_{njm} = \frac{f_n \cdot f_{jm}}{\lVert f_n \rVert \, \lVert f_{jm} \rVert}"
    ),
    "kdcourse.evaluation.accuracy": r"\frac{1}{N} \sum_n \bigl[\arg\max_i z_{ni} = y_n\bigr]",
    "kdcourse.evaluation.agreement": r"\frac{1}{N} \sum_n \bigl[\arg\max_i a_{ni} = \arg\max_i b_{ni}\bigr]",
    "kdcourse.evaluation.negative_log_likelihood": (r"-\frac{1}{N} \sum_n \log \mathrm{softmax}(z_n)_{y_n}"),
    "kdcourse.evaluation.expected_calibration_error": (
        r"\mathrm{ECE} = \sum_k \frac{|S_k|}{N} \,\bigl|\mathrm{acc}(S_k) - \mathrm{conf}(S_k)\bigr|"
    ),
    "kdcourse.evaluation.kl_to_teacher": (
        r"\frac{1}{N} \sum_n \sum_i p_{ni} \bigl(\log p_{ni} - \log q_{ni}\bigr)"
    ),
    "kdcourse.evaluation.gap_recovered": (
        r"G = \frac{\overline{\mathrm{distilled}} - \overline{\mathrm{plain}}}"
        r"{\mathrm{teacher} - \overline{\mathrm{plain}}}"
    ),
    "kdcourse.evaluation.mean_interval": r"\bar{x} \pm t_{n-1} \,\frac{s}{\sqrt{n}}",
    "kdcourse.evaluation.wilson_interval": (
        r"\frac{\hat{p} + \frac{z^2}{2n} \pm z \sqrt{\frac{\hat{p}(1 - \hat{p})}{n} + \frac{z^2}{4 n^2}}}"
        r"{1 + \frac{z^2}{n}}"
    ),
    "kdcourse.evaluation.mean_iou": (
        r"\frac{1}{|\mathcal{C}|} \sum_{c \in \mathcal{C}} "
        r"\frac{\mathrm{TP}_c}{\mathrm{TP}_c + \mathrm{FP}_c + \mathrm{FN}_c}"
    ),
    "kdcourse.evaluation.dice": (
        r"\frac{1}{|\mathcal{C}|} \sum_{c \in \mathcal{C}} "
        r"\frac{2\,\mathrm{TP}_c}{2\,\mathrm{TP}_c + \mathrm{FP}_c + \mathrm{FN}_c}"
    ),
}
