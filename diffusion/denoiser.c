/* denoiser.c -- what a network's output says about x_0. */
#include "diffusion/denoiser.h"
#include <string.h>

DataForm denoiser_data_form(Prediction predicts, double a, double s) {
  if (predicts == PREDICTS_X0) return (DataForm){ 0, 1 };
  return (DataForm){ 1 / a, -s / a };
}

Prediction denoiser_prediction(const char *name) {
  if (!strcmp(name, "x0")) return PREDICTS_X0;
  CHECK(!strcmp(name, "eps"), "prediction %s", name);
  return PREDICTS_EPS;
}
