// libnvidia-ml.so.1, which torch asks about connections to other GPUs and, when memory runs out, about other processes.
// Retable asks it how busy the GPU is: 30 per cent.
#define NOT_SUPPORTED 3  // NVML_ERROR_NOT_SUPPORTED
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetHandleByPciBusId_v2(const char *id, void **device) { *device = (void *)16; return 0; }
int nvmlDeviceGetComputeRunningProcesses(void *device, unsigned *count, void *processes) { return NOT_SUPPORTED; }
int nvmlDeviceGetGpuFabricInfoV(void *device, void *info) { return NOT_SUPPORTED; }
int nvmlDeviceGetNvLinkRemoteDeviceType(void *device, unsigned link, int *type) { return NOT_SUPPORTED; }
int nvmlDeviceGetNvLinkRemotePciInfo_v2(void *device, unsigned link, void *info) { return NOT_SUPPORTED; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 13020; return 0; }
int nvmlInitWithFlags(unsigned flags) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) { *device = (void *)16; return 0; }
int nvmlDeviceGetUtilizationRates(void *device, unsigned *gpu_and_memory) {
  gpu_and_memory[0] = 30, gpu_and_memory[1] = 5;
  return 0;
}
