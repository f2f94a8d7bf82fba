// The small operations of a training step, each one pass over memory. step.py builds this file and calls it through
// ctypes; matrix products stay with PyTorch. bf16 values are uint16_t, sizes are the caller's duty, nothing is kept.
#include <cmath>
#include <cstdint>
#include <cstring>

typedef uint16_t bf16;

static inline float wide(bf16 x) {
    uint32_t u = uint32_t(x) << 16;
    float f;
    std::memcpy(&f, &u, 4);
    return f;
}

static inline bf16 narrow(float f) {
    uint32_t u;
    std::memcpy(&u, &f, 4);
    return bf16((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

extern "C" {

// y = x / rms(x) * gain, row by row; inv keeps 1 / rms(x).
void rms_forward(const bf16* x, const float* gain, bf16* y, float* inv, int64_t n, int64_t d, float eps) {
    for (int64_t i = 0; i < n; i++, x += d, y += d) {
        float s = 0;
        for (int64_t j = 0; j < d; j++) s += wide(x[j]) * wide(x[j]);
        float r = inv[i] = 1 / std::sqrt(s / d + eps);
        for (int64_t j = 0; j < d; j++) y[j] = narrow(wide(x[j]) * r * gain[j]);
    }
}

// dx += the gradient through rms_forward; dgain += its gain's.
void rms_backward(const bf16* dy, const bf16* x, const float* gain, const float* inv, bf16* dx, float* dgain, int64_t n, int64_t d) {
    for (int64_t i = 0; i < n; i++, x += d, dy += d, dx += d) {
        float s = 0, r = inv[i];
        for (int64_t j = 0; j < d; j++) s += wide(dy[j]) * gain[j] * wide(x[j]);
        float c = s * r * r * r / d;
        for (int64_t j = 0; j < d; j++) {
            float g = wide(dy[j]), v = wide(x[j]);
            dgain[j] += g * v * r;
            dx[j] = narrow(wide(dx[j]) + g * gain[j] * r - v * c);
        }
    }
}

// qkv [b, t, (4 + 2 + 2) * 64] to q [b, heads, t, 64], k and v [b, kv, t, 64], with rotary positions on q and k.
void split_heads(const bf16* qkv, const float* cos, const float* sin, bf16* q, bf16* k, bf16* v, int64_t b, int64_t t, int64_t heads, int64_t kv) {
    for (int64_t i = 0; i < b; i++)
        for (int64_t j = 0; j < t; j++) {
            const bf16* row = qkv + (i * t + j) * (heads + 2 * kv) * 64;
            const float *c = cos + (i * t + j) * 32, *s = sin + (i * t + j) * 32;
            for (int64_t h = 0; h < heads + kv; h++, row += 64) {
                bf16* to = h < heads ? q + ((i * heads + h) * t + j) * 64 : k + ((i * kv + h - heads) * t + j) * 64;
                for (int64_t e = 0; e < 32; e++) {
                    float x = wide(row[2 * e]), y = wide(row[2 * e + 1]);
                    to[2 * e] = narrow(x * c[e] - y * s[e]);
                    to[2 * e + 1] = narrow(x * s[e] + y * c[e]);
                }
            }
            for (int64_t h = 0; h < kv; h++, row += 64) std::memcpy(v + ((i * kv + h) * t + j) * 64, row, 128);
        }
}

// The gradient of split_heads.
void join_heads(bf16* qkv, const float* cos, const float* sin, const bf16* q, const bf16* k, const bf16* v, int64_t b, int64_t t, int64_t heads, int64_t kv) {
    for (int64_t i = 0; i < b; i++)
        for (int64_t j = 0; j < t; j++) {
            bf16* row = qkv + (i * t + j) * (heads + 2 * kv) * 64;
            const float *c = cos + (i * t + j) * 32, *s = sin + (i * t + j) * 32;
            for (int64_t h = 0; h < heads + kv; h++, row += 64) {
                const bf16* from = h < heads ? q + ((i * heads + h) * t + j) * 64 : k + ((i * kv + h - heads) * t + j) * 64;
                for (int64_t e = 0; e < 32; e++) {
                    float x = wide(from[2 * e]), y = wide(from[2 * e + 1]);
                    row[2 * e] = narrow(x * c[e] + y * s[e]);
                    row[2 * e + 1] = narrow(y * c[e] - x * s[e]);
                }
            }
            for (int64_t h = 0; h < kv; h++, row += 64) std::memcpy(row, v + ((i * kv + h) * t + j) * 64, 128);
        }
}

// [b, heads, t, 64] to [b, t, heads, 64], or back.
void heads_to_rows(const bf16* from, bf16* to, int64_t b, int64_t t, int64_t heads, int64_t back) {
    for (int64_t i = 0; i < b; i++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t j = 0; j < t; j++) {
                int64_t a = ((i * heads + h) * t + j) * 64, r = ((i * t + j) * heads + h) * 64;
                std::memcpy(to + (back ? a : r), from + (back ? r : a), 128);
            }
}

// scores [b, heads, t, t] to weights in place. Token j sees the first shared[i] tokens of its row and those from start[j].
void softmax_forward(bf16* p, const int32_t* shared, const int32_t* start, int64_t b, int64_t t, int64_t heads, float scale) {
    float w[4096];
    for (int64_t i = 0; i < b; i++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t j = 0; j < t; j++, p += t) {
                int64_t from = start[i * t + j], cut = from < shared[i] ? from : shared[i];
                float most = -1e30f, sum = 0;
                for (int64_t e = 0; e < cut; e++) w[e] = wide(p[e]), most = w[e] > most ? w[e] : most;
                for (int64_t e = from; e <= j; e++) w[e] = wide(p[e]), most = w[e] > most ? w[e] : most;
                for (int64_t e = 0; e < cut; e++) w[e] = std::exp((w[e] - most) * scale), sum += w[e];
                for (int64_t e = from; e <= j; e++) w[e] = std::exp((w[e] - most) * scale), sum += w[e];
                float r = 1 / sum;
                for (int64_t e = 0; e < cut; e++) p[e] = narrow(w[e] * r);
                for (int64_t e = cut; e < from; e++) p[e] = 0;
                for (int64_t e = from; e <= j; e++) p[e] = narrow(w[e] * r);
                for (int64_t e = j + 1; e < t; e++) p[e] = 0;
            }
}

// The gradient of softmax_forward, in place of that of the weights. Where p is 0, nothing flows.
void softmax_backward(bf16* dp, const bf16* p, int64_t rows, int64_t t, float scale) {
    for (int64_t i = 0; i < rows; i++, p += t, dp += t) {
        float s = 0;
        for (int64_t e = 0; e < t; e++) s += wide(dp[e]) * wide(p[e]);
        for (int64_t e = 0; e < t; e++) dp[e] = narrow(wide(p[e]) * (wide(dp[e]) - s) * scale);
    }
}

// gu [n, 2 f] is gate and up; h = silu(gate) * up.
void swiglu_forward(const bf16* gu, bf16* h, int64_t n, int64_t f) {
    for (int64_t i = 0; i < n; i++, gu += 2 * f, h += f)
        for (int64_t j = 0; j < f; j++) {
            float g = wide(gu[j]);
            h[j] = narrow(g / (1 + std::exp(-g)) * wide(gu[f + j]));
        }
}

// The gradient of swiglu_forward, in place of gu.
void swiglu_backward(bf16* gu, const bf16* dh, int64_t n, int64_t f) {
    for (int64_t i = 0; i < n; i++, gu += 2 * f, dh += f)
        for (int64_t j = 0; j < f; j++) {
            float g = wide(gu[j]), u = wide(gu[f + j]), d = wide(dh[j]), s = 1 / (1 + std::exp(-g));
            gu[j] = narrow(d * u * s * (1 + g * (1 - s)));
            gu[f + j] = narrow(d * g * s);
        }
}

// Cross-entropy of each row, and weight * gradient in place of the logits.
void cross_entropy(bf16* z, const int64_t* gold, const float* weight, float* loss, int64_t n, int64_t v) {
    float w[8192];
    for (int64_t i = 0; i < n; i++, z += v) {
        float most = -1e30f, sum = 0;
        for (int64_t e = 0; e < v; e++) w[e] = wide(z[e]), most = w[e] > most ? w[e] : most;
        float right = w[gold[i]];
        for (int64_t e = 0; e < v; e++) w[e] = std::exp(w[e] - most), sum += w[e];
        float r = weight[i] / sum;
        for (int64_t e = 0; e < v; e++) z[e] = narrow(w[e] * r);
        z[gold[i]] = narrow(w[gold[i]] * r - weight[i]);
        loss[i] = most + std::log(sum) - right;
    }
}

// table[ids[i]] += rows[i]
void scatter_add(float* table, const int64_t* ids, const bf16* rows, int64_t n, int64_t d) {
    for (int64_t i = 0; i < n; i++, rows += d) {
        float* to = table + ids[i] * d;
        for (int64_t j = 0; j < d; j++) to[j] += wide(rows[j]);
    }
}
}
