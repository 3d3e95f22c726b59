/* oracle.h: what the kernels should give, in plain double loops that follow the formulas of fastkd.h word for word. */
#ifndef ORACLE_H
#define ORACLE_H
#include <math.h>
#include <string.h>
#include "fastkd.h"

enum { WIDEST = 64 }; /* classes, units */

static void oracle_log_softmax(const double *z, int C, double T, double *out) {
  double top = -INFINITY, sum = 0;
  for (int c = 0; c < C; ++c) top = fmax(top, z[c]);
  for (int c = 0; c < C; ++c) sum += exp((z[c] - top) / T);
  for (int c = 0; c < C; ++c) out[c] = (z[c] - top) / T - log(sum);
}

/* row loss of distillation and its derivative by the student's logits; label < 0 or teacher NULL leave out their term */
static double oracle_distill(const double *student, const double *teacher, int label, int C, const fkd_distill *how, double *grad) {
  double log_s[WIDEST], log_t[WIDEST], log_p[WIDEST], loss = 0;
  const double T = how->temperature, w = how->kd_weight;
  for (int c = 0; c < C; ++c) grad[c] = 0;
  oracle_log_softmax(student, C, T, log_s);
  oracle_log_softmax(student, C, 1, log_p);
  if (how->teacher != FKD_NO_TEACHER) {
    if (how->teacher == FKD_LOGITS) oracle_log_softmax(teacher, C, T, log_t);
    for (int c = 0; c < C; ++c) {
      const double q = how->teacher == FKD_LOGITS ? exp(log_t[c]) : teacher[c];
      if (q > 0) loss += w * T * T * q * ((how->teacher == FKD_LOGITS ? log_t[c] : log(q)) - log_s[c]);
      grad[c] += w * T * (exp(log_s[c]) - q);
    }
  }
  if (label < 0) return loss;
  for (int c = 0; c < C; ++c) {
    const double target = (c == label) * (1 - how->label_smoothing) + how->label_smoothing / C;
    if (target > 0) loss -= (1 - w) * target * log_p[c];
    grad[c] += (1 - w) * (exp(log_p[c]) - target);
  }
  return loss;
}

static double oracle_kl(const double *p, const double *q, int C, double eps) {
  double sum = 0;
  for (int c = 0; c < C; ++c)
    if (p[c] > eps) sum += p[c] * log(p[c] / fmax(q[c], eps));
  return sum;
}

static double oracle_activation(int kind, double x) {
  switch (kind) {
    case FKD_RELU: return x > 0 ? x : 0;
    case FKD_TANH: return tanh(x);
    case FKD_GELU: return 0.5 * x * erfc(-x / sqrt(2.0));
    default: return x;
  }
}

/* outputs of the last layer for one row */
static void oracle_forward(const fkd_mlp *net, const double *params, const double *x, double *out) {
  double now[WIDEST], next[WIDEST];
  memcpy(now, x, sizeof(double) * (size_t)net->sizes[0]);
  for (int l = 0; l < net->layers; ++l) {
    const int in = (int)net->sizes[l], n = (int)net->sizes[l + 1];
    for (int j = 0; j < n; ++j) {
      double sum = params[in * n + j];
      for (int i = 0; i < in; ++i) sum += now[i] * params[i * n + j];
      next[j] = l + 1 < net->layers ? oracle_activation(net->activation, sum) : sum;
    }
    params += (in + 1) * n;
    memcpy(now, next, sizeof(double) * (size_t)n);
  }
  memcpy(out, now, sizeof(double) * (size_t)net->sizes[net->layers]);
}
/* fkd_kernel's k(x, y) */
static double oracle_kernel(const fkd_kernel *f, const double *x, const double *y, int d) {
  const double pi = 3.14159265358979323846, w = f->weight_variance, b = f->bias_variance;
  double xx = 0, yy = 0, xy = 0, far = 0;
  for (int i = 0; i < d; ++i) xx += x[i] * x[i], yy += y[i] * y[i], xy += x[i] * y[i], far += (x[i] - y[i]) * (x[i] - y[i]);
  if (f->depth == 0) return exp(-f->gamma * far);
  double p = w * xx / d + b, q = w * yy / d + b, s = w * xy / d + b, theta = s;
  for (int l = 0; l < f->depth; ++l) {
    const double c = fmin(1, fmax(-1, s / sqrt(p * q))), k0 = (pi - acos(c)) / (2 * pi);
    s = w * sqrt(p * q) * (sqrt(1 - c * c) / (2 * pi) + k0 * c) + b;
    theta = s + w * k0 * theta;
    p = w * p / 2 + b, q = w * q / 2 + b;
  }
  return theta;
}

#endif
