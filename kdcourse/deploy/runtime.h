/* -- what every network is computed with ------------------------------------------------------------------------ */

/* A convolution of [channels][height][width], zeros around the image. Per output channel: the sums of weight * input,
   the largest of each 2x2 of them where `pool` is 1, times scale, plus shift, not below 0 where `relu` is 1.
   One row of sums is computed at a time: a weight is read once for all of them. */
static inline void kd_conv(const float *in, int channels, int height, int width, const kd_weight *weights,
                           const float *scale, const float *shift, float *out, int outputs, int kernel, int stride,
                           int padding, int groups, int pool, int relu)
{
    const int each = channels / groups, step = pool ? 2 : 1;
    const int rows = (height + 2 * padding - kernel) / stride + 1;
    const int columns = (width + 2 * padding - kernel) / stride + 1;
    float row[KD_ROW];

    for (int o = 0; o < outputs; o++, weights += each * kernel * kernel) {
        const float *first = in + o / (outputs / groups) * each * height * width;
        for (int y = 0; y < rows / step; y++, out += columns / step) {
            for (int part = 0; part < step; part++) {
                const int top = (y * step + part) * stride - padding;
                for (int x = 0; x < columns; x++)
                    row[x] = 0.0f;
                for (int c = 0; c < each; c++) {
                    for (int i = top < 0 ? -top : 0; i < kernel && top + i < height; i++) {
                        const float *line = first + (c * height + top + i) * width;
                        for (int j = 0; j < kernel; j++) {
                            const float weight = (float)weights[(c * kernel + i) * kernel + j];
                            const int left = j - padding;
                            int x = left < 0 ? (stride - 1 - left) / stride : 0;
                            int end = left < width ? (width - 1 - left) / stride + 1 : 0;
                            if (end > columns)
                                end = columns;
                            if (stride == 1)
                                for (; x < end; x++)
                                    row[x] += weight * line[x + left];
                            else
                                for (; x < end; x++)
                                    row[x] += weight * line[x * stride + left];
                        }
                    }
                }
                for (int x = 0; x < columns / step; x++) {
                    float largest = row[x * step];
                    if (pool && row[x * 2 + 1] > largest)
                        largest = row[x * 2 + 1];
                    if (!part || largest > out[x])
                        out[x] = largest;
                }
            }
            for (int x = 0; x < columns / step; x++) {
                out[x] = out[x] * scale[o] + shift[o];
                if (relu && out[x] < 0.0f)
                    out[x] = 0.0f;
            }
        }
    }
}

static inline void kd_linear(const float *in, int inputs, const kd_weight *weights, const float *scale,
                             const float *shift, float *out, int outputs, int relu)
{
    for (int o = 0; o < outputs; o++) {
        float sum = 0.0f;
        for (int i = 0; i < inputs; i++)
            sum += (float)weights[o * inputs + i] * in[i];
        sum = sum * scale[o] + shift[o];
        out[o] = relu && sum < 0.0f ? 0.0f : sum;
    }
}

static inline void kd_add(const float *one, const float *other, int count, float *out, int relu)
{
    for (int i = 0; i < count; i++) {
        const float sum = one[i] + other[i];
        out[i] = relu && sum < 0.0f ? 0.0f : sum;
    }
}

static inline void kd_maximum(const float *in, int channels, int pixels, float *out)
{
    for (int c = 0; c < channels; c++, in += pixels) {
        out[c] = in[0];
        for (int i = 1; i < pixels; i++)
            if (in[i] > out[c])
                out[c] = in[i];
    }
}

static inline void kd_mean(const float *in, int channels, int pixels, float *out)
{
    for (int c = 0; c < channels; c++, in += pixels) {
        float sum = 0.0f;
        for (int i = 0; i < pixels; i++)
            sum += in[i];
        out[c] = sum / (float)pixels;
    }
}
