// cuBLAS and cuDNN: they need a workspace of their own, and compute nothing.
#include "driver.h"
#include <stdlib.h>
#include <string.h>

#define DEVICE_ALLOCATION_FAILED 4004  // of cuDNN 9: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED

static int new_object(void **object) { *object = calloc(1, 256); return 0; }
static int delete_object(void *object) { free(object); return 0; }
static int computed(void) { return null_gpu_free() < null_gpu.library_workspace ? DEVICE_ALLOCATION_FAILED : 0; }

int cublasCreate_v2(void **handle) { return new_object(handle); }
int cublasLtMatmulAlgoGetHeuristic(
    void *handle, void *operation, void *a, void *b, void *c, void *d, void *wish, int asked, void *results, int *found) {
  memset(results, 0, 64);
  *found = 1;
  return 0;
}

int cudnnCreate(void **handle) { return new_object(handle); }
int cudnnCreateTensorDescriptor(void **descriptor) { return new_object(descriptor); }
int cudnnDestroyTensorDescriptor(void *descriptor) { return delete_object(descriptor); }
int cudnnCreateActivationDescriptor(void **descriptor) { return new_object(descriptor); }
int cudnnBackendCreateDescriptor(int type, void **descriptor) { return new_object(descriptor); }
int cudnnBackendDestroyDescriptor(void *descriptor) { return delete_object(descriptor); }
int cudnnBackendGetAttribute(void *descriptor, int name, int type, int64_t asked, int64_t *count, void *values) {
  enum { INT64 = 3, DESCRIPTOR = 15 };  // of cudnnBackendAttributeType_t; there are no other attributes here
  if (type == INT64 && values && asked > 0) *(int64_t *)values = 0;
  if (count) *count = type == INT64 || type == DESCRIPTOR;
  return 0;
}
int cudnnBackendExecute(void *handle, void *plan, void *variant) { return computed(); }

int cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(
    void *h, int m, int o, void *x, void *z, void *y, void *b, void *a, size_t *size) { *size = 0; return 0; }
int cudnnGetBatchNormalizationTrainingExReserveSpaceSize(void *h, int m, int o, void *a, void *x, size_t *size) { *size = 0; return 0; }
int cudnnGetBatchNormalizationBackwardExWorkspaceSize(
    void *h, int m, int o, void *x, void *y, void *dy, void *dz, void *dx, void *b, void *a, size_t *size) { *size = 0; return 0; }
