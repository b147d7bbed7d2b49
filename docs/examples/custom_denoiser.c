/* custom_denoiser.c -- sample a denoiser of one's own with any sampler of diffrl.
 *
 * The data are two clouds in the plane, N((-1, 0), c^2) and N((1, 0), c^2), so the best denoiser is
 * known: E[x_0 | x_t].  A network of yours takes its place in `denoise`. */
#include <diffrl.h>
#include <math.h>
#include <stdio.h>

static const double c = 0.2; /* standard deviation of a cloud */

/* x, out [count, 2]; all samples at the noise level `at`: x_t = a x_0 + s eps */
static int denoise(void *user, int first, int count, int dim, const float *x,
                   const diffrl_level *at, float *out) {
  double v = at->a * at->a * c * c + at->s * at->s; /* variance of x_t around its cloud */
  int i;
  (void)user, (void)first, (void)dim;
  for (i = 0; i < count; i++) {
    double side = tanh(at->a * x[2 * i] / v); /* P(right) - P(left) */
    double keep = at->a * c * c / v, pull = at->s * at->s / v;
    out[2 * i] = (float)(keep * x[2 * i] + pull * side);
    out[2 * i + 1] = (float)(keep * x[2 * i + 1]);
  }
  return 0;
}

static void report(const char *method, int evaluations, const float *x, int count) {
  double right = 0, square = 0;
  int i;
  for (i = 0; i < count; i++) {
    right += x[2 * i] > 0;
    square += pow(fabs(x[2 * i]) - 1, 2) + pow(x[2 * i + 1], 2);
  }
  printf("%-9s %3d evaluations: %.1f %% on the right, spread %.3f\n", method, evaluations,
         100 * right / count, sqrt(square / (2 * count)));
}

int main(void) {
  enum { COUNT = 10000 };
  static float x[2 * COUNT];
  static const char *const methods[] = { "ddpm", "ddim", "dpmpp_2m", "unipc" };
  static const int steps[] = { 200, 50, 20, 10 };
  diffrl_schedule_options how = diffrl_schedule_defaults();
  diffrl_sampler_options options = diffrl_sampler_defaults();
  diffrl_denoiser denoiser = diffrl_denoiser_defaults();
  diffrl_schedule *schedule = NULL;
  diffrl_sampler *unused = NULL;
  diffrl_error error;
  size_t i;

  how.steps = 1000, options.spacing = "lambda";
  if (diffrl_schedule_new(&schedule, "linear", &how, &error)) return puts(error.text), 1;
  denoiser.ask = denoise, denoiser.dim = 2, denoiser.predicts = "x0";
  for (i = 0; i < sizeof methods / sizeof *methods; i++) {
    diffrl_sampler *sampler = NULL;
    options.method = methods[i], options.steps = steps[i];
    if (diffrl_sampler_new(&sampler, schedule, &denoiser, &options, &error) ||
        diffrl_sampler_run(sampler, 1, COUNT, x, &error))
      return puts(error.text), 1;
    report(methods[i], diffrl_sampler_evaluations(sampler), x, COUNT);
    diffrl_sampler_free(sampler);
  }
  options.method = "dpmpp2m"; /* a mistake is answered with a sentence */
  if (diffrl_sampler_new(&unused, schedule, &denoiser, &options, &error)) puts(error.text);
  diffrl_schedule_free(schedule);
  return 0;
}
