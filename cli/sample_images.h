/* sample_images.h -- what `diffrl sample` makes of a model of pictures: one file of samples, a
 * sheet that compares, or the samples in motion. */
#ifndef CLI_SAMPLE_IMAGES_H
#define CLI_SAMPLE_IMAGES_H
#include "cli/command_sample.h"
#include "policy/models/pictures.h"

typedef struct {
  const SampleJob *job;
  const PicturesModel *model;
  ModelSampling how;
  int label; /* or PICTURES_ALL_LABELS, PICTURES_NO_LABEL */
} ImageSampling;

/* A label by number or name, "none" for no label; a strength of guidance from 0 to 100.  FAIL_USAGE
 * for what is none, and for a model without labels. */
bool sample_read_label(const PicturesModel *model, const char *text, int *label, Error *error);
bool sample_read_guidance(const PicturesModel *model, const char *text, double *guidance,
                          Error *error);

const char *sample_label_name(const PicturesModel *model, int label); /* NULL: it has none */

/* Pictures [count, numbers] in the arena of the job, all finite; NULL and an error. */
double *sample_pictures(const ImageSampling *images, int count, Error *error);

bool sample_sheet(const ImageSampling *images, Error *error);  /* --sheet, to a PNG file */
bool sample_motion(const ImageSampling *images, Error *error); /* to a GIF file */

#endif
