/* image_folder.h -- a folder of PNG and JPEG files as a set of pictures.
 *
 * The files, NAME.png, .jpg or .jpeg in any case, lie in the folder itself, and then have no
 * labels, or in folders in it, one for each label, whose names are the labels' in the order of
 * their bytes.  Names that begin with a dot are passed over, other files are counted.  If any
 * picture is in colour, all are RGB, and grey ones have three equal channels.  One picture in ten
 * is kept for testing, those of each label whose names have the least hashes, at least one of a
 * label with two pictures: the same ones at every reading and on every machine. */
#ifndef DATASETS_IMAGE_FOLDER_H
#define DATASETS_IMAGE_FOLDER_H
#include "datasets/images.h"

/* Fills train, test, classes, label_name and skipped of the set; adds names and pixels to the sum.
 * resize: pixels a side, or 0 where all pictures must have one size.  FAIL_INPUT names the file, or
 * two files of different sizes. */
bool image_folder_read(ImageSet *set, Arena *arena, const char *folder, int resize, Murmur *sum,
                       Error *error);

#endif
