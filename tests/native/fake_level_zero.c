/*
 * A Level Zero driver without hardware, for the real loader: ZE_ENABLE_ALT_DRIVERS=/path/libfake.so.
 *
 * What it presents comes from an ini-like file: the driver's own path with .so replaced by .ini when that exists (so
 * two copies are two drivers), else the file that ZE_FAKE_CONFIG names. See tests/native/build.py for its keys.
 *
 * Built against the headers of any loader from 1.8 on. Function tables only ever grow at their end, so entries that
 * the oldest headers lack are written by position, and only when the loader asks for a version that has them.
 * Memory is the host's; copies and fills really happen, at once. Kernels cannot be built.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <level_zero/ze_api.h>
#include <level_zero/ze_ddi.h>
#include <level_zero/zes_api.h>
#include <level_zero/zes_ddi.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_DEVICES 64
#define MOST_TILES 8
#define MOST_DRIVERS 4
#define OK ZE_RESULT_SUCCESS
#define EXPORT __attribute__((visibility("default")))
#define VERSION(major, minor) ((major) << 16 | (minor))

struct device;
/* A frequency domain, sensor, port ... : which device it belongs to and which of its kind it is. */
struct part {
  struct device *owner;
  uint32_t number;
};
enum { FREQUENCY, POWER, TEMPERATURE, MEMORY, PORT, FIRMWARE, RAS, ENGINE, KINDS };
#define MOST_PARTS 32

struct device {
  int tag; /* tells a core handle from a sysman handle */
  struct device *parent, *tiles[MOST_TILES];
  uint32_t driver, tile_count, tile, fabric_ports;
  ze_device_type_t type;
  uint32_t id, vendor, clock_mhz, slices, subslices, eus, threads, ecc, throttle, ras_uncorrectable, reset;
  uint32_t bus_width, memory_clock, link_gen, link_width, max_gen, max_width, processes, health, power_ext;
  uint32_t pcie_counters, pcie_rx, pcie_tx, pcie_replays, engine_active_us, engine_clock_us;
  uint64_t memory, memory_free;
  double frequency, temperature;
  int32_t power_mw;
  uint32_t domain, bus, slot, function;
  char name[256], model[64], firmware[8][2][64];
  uint32_t firmware_count;
  struct part parts[KINDS][MOST_PARTS];
};
/* my_zesInit hands out handles of its own: an application that mixes the two must fail here as on real drivers. */
struct manager {
  int tag;
  struct device *device;
};
enum { CORE_TAG = 0xC0DE, SYSMAN_TAG = 0x5E5 };

static struct device devices[MOST_DEVICES];
static struct manager managers[MOST_DEVICES];
static uint32_t device_count, driver_count, drivers[MOST_DRIVERS];
static char mode[64] = "ok", p2p[32] = "all", refuse[512], extensions[512] = "";
static uint32_t init_error, sysman_init_error, api_minor = 4, driver_version = 0x01060000;
static int is_read, is_core_ready, is_sysman_ready;

static int mode_is(const char *name) { return strcmp(mode, name) == 0; }

static void find_config(char *path, size_t size) {
  Dl_info self;
  if (dladdr((void *)find_config, &self) && self.dli_fname) {
    snprintf(path, size, "%s", self.dli_fname);
    char *end = strstr(path, ".so");
    if (end && (size_t)(end - path) + 5 < size) {
      strcpy(end, ".ini");
      if (access(path, R_OK) == 0) return;
    }
  }
  snprintf(path, size, "%s", getenv("ZE_FAKE_CONFIG") ? getenv("ZE_FAKE_CONFIG") : "");
}

static void start_device(struct device *d, uint32_t driver) {
  memset(d, 0, sizeof *d);
  d->tag = CORE_TAG;
  d->driver = driver;
  d->type = ZE_DEVICE_TYPE_GPU;
  d->id = 0xe211, d->vendor = 0x8086, d->clock_mhz = 2400;
  d->slices = 5, d->subslices = 4, d->eus = 8, d->threads = 8;
  d->memory = 24480ull << 20, d->memory_free = 24000ull << 20, d->bus_width = 192, d->memory_clock = 2375;
  d->link_gen = 5, d->link_width = 8, d->max_gen = 5, d->max_width = 8, d->health = ZES_MEM_HEALTH_OK;
  d->frequency = 400, d->temperature = 41.5, d->power_mw = 200000, d->engine_clock_us = 1000;
  d->bus = 3 + device_count;
  strcpy(d->name, "Intel(R) Arc(TM) Pro B60 Graphics");
  strcpy(d->model, "unknown");
}

static void set_key(struct device *d, const char *key, const char *value) {
  uint64_t number = strtoull(value, NULL, 0);
  static const struct { const char *name; size_t at; } numbers[] = {
#define NUMBER(field) {#field, offsetof(struct device, field)}
      NUMBER(id), NUMBER(vendor), NUMBER(clock_mhz), NUMBER(slices), NUMBER(subslices), NUMBER(eus), NUMBER(threads),
      NUMBER(ecc), NUMBER(throttle), NUMBER(ras_uncorrectable), NUMBER(reset), NUMBER(bus_width), NUMBER(memory_clock),
      NUMBER(link_gen), NUMBER(link_width), NUMBER(max_gen), NUMBER(max_width), NUMBER(processes), NUMBER(health),
      NUMBER(fabric_ports), NUMBER(power_mw), NUMBER(power_ext), NUMBER(pcie_counters), NUMBER(pcie_rx),
      NUMBER(pcie_tx), NUMBER(pcie_replays), NUMBER(engine_active_us), NUMBER(engine_clock_us)};
  if (!d) {
    if (!strcmp(key, "mode")) snprintf(mode, sizeof mode, "%s", value);
    else if (!strcmp(key, "p2p")) snprintf(p2p, sizeof p2p, "%s", value);
    else if (!strcmp(key, "refuse")) snprintf(refuse, sizeof refuse, ",%s,", value);
    else if (!strcmp(key, "extensions")) snprintf(extensions, sizeof extensions, ",%s,", value);
    else if (!strcmp(key, "init_error")) init_error = number;
    else if (!strcmp(key, "sysman_init_error")) sysman_init_error = number;
    else if (!strcmp(key, "api_minor")) api_minor = number;
    else if (!strcmp(key, "driver_version")) driver_version = number;
    else fprintf(stderr, "fake_level_zero: unknown key %s\n", key), exit(97);
    return;
  }
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    if (!strcmp(key, numbers[i].name)) {
      *(uint32_t *)((char *)d + numbers[i].at) = number;
      return;
    }
  if (!strcmp(key, "name")) snprintf(d->name, sizeof d->name, "%s", value);
  else if (!strcmp(key, "model")) snprintf(d->model, sizeof d->model, "%s", value);
  else if (!strcmp(key, "bdf")) sscanf(value, "%x:%x:%x.%x", &d->domain, &d->bus, &d->slot, &d->function);
  else if (!strcmp(key, "memory_mib")) d->memory = number << 20;
  else if (!strcmp(key, "memory_free_mib")) d->memory_free = number << 20;
  else if (!strcmp(key, "frequency_mhz")) d->frequency = atof(value);
  else if (!strcmp(key, "temperature_c")) d->temperature = atof(value);
  else if (!strcmp(key, "tiles")) d->tile_count = number > MOST_TILES ? MOST_TILES : number;
  else if (!strcmp(key, "type"))
    d->type = !strcmp(value, "npu") ? ZE_DEVICE_TYPE_VPU : !strcmp(value, "cpu") ? ZE_DEVICE_TYPE_CPU : ZE_DEVICE_TYPE_GPU;
  else if (!strcmp(key, "firmware") && d->firmware_count < 8)
    sscanf(value, "%63s %63[^\n]", d->firmware[d->firmware_count][0], d->firmware[d->firmware_count][1]), d->firmware_count++;
  else fprintf(stderr, "fake_level_zero: unknown device key %s\n", key), exit(97);
}

static void read_config(void) {
  char path[4096], line[512], key[64], value[440];
  if (is_read++) return;
  find_config(path, sizeof path);
  FILE *file = fopen(path, "r");
  struct device *d = NULL;
  driver_count = 1;
  while (file && fgets(line, sizeof line, file)) {
    if (!strncmp(line, "[driver]", 8)) driver_count += device_count ? 1 : 0, d = NULL;
    else if (!strncmp(line, "[device]", 8) && device_count < MOST_DEVICES) {
      d = &devices[device_count];
      start_device(d, driver_count - 1);
      device_count++;
    } else if (line[0] != '#' && sscanf(line, " %63[a-z0-9_] = %439[^\n]", key, value) == 2) set_key(d, key, value);
  }
  if (file) fclose(file);
  uint32_t whole = device_count;
  for (uint32_t i = 0; i < whole; i++)
    for (uint32_t tile = 0; tile < devices[i].tile_count && device_count < MOST_DEVICES; tile++) {
      struct device *part = &devices[device_count++];
      *part = devices[i];
      part->parent = &devices[i], part->tile = tile, part->tile_count = 0;
      part->slices /= devices[i].tile_count, part->memory /= devices[i].tile_count;
      devices[i].tiles[tile] = part;
    }
  for (uint32_t i = 0; i < whole; i++) /* sysman lists devices in another order than the core, on purpose */
    managers[i].tag = SYSMAN_TAG, managers[i].device = &devices[whole - 1 - i];
  for (uint32_t i = 0; i < device_count; i++)
    for (int kind = 0; kind < KINDS; kind++)
      for (uint32_t n = 0; n < MOST_PARTS; n++) devices[i].parts[kind][n] = (struct part){&devices[i], n};
}

static void misbehave(const char *where) {
  char wanted[96];
  snprintf(wanted, sizeof wanted, "crash-%s", where);
  if (mode_is(wanted)) raise(SIGSEGV);
  snprintf(wanted, sizeof wanted, "hang-%s", where);
  if (mode_is(wanted)) for (;;) pause();
  snprintf(wanted, sizeof wanted, "exit-%s", where);
  if (mode_is(wanted)) exit(3);
  snprintf(wanted, sizeof wanted, "noise-%s", where);
  if (mode_is(wanted)) printf("{\"noise\": true}\n<driver debug output>\n"), fflush(stdout);
}

/* Each call: misbehave when told to, then refuse when the file lists the function under "refuse". */
static ze_result_t enter(const char *function) {
  char wanted[96];
  read_config();
  misbehave(function);
  snprintf(wanted, sizeof wanted, ",%s,", function);
  return strstr(refuse, wanted) ? ZE_RESULT_ERROR_UNSUPPORTED_FEATURE : OK;
}
#define ENTER() do { ze_result_t refused = enter(__func__ + 3); if (refused) return refused; } while (0)

/* ---- core ---- */

static ze_result_t my_zeInit(ze_init_flags_t flags) {
  ENTER();
  is_core_ready = init_error == 0;
  return (ze_result_t)init_error;
}

static ze_result_t my_zeDriverGet(uint32_t *count, ze_driver_handle_t *out) {
  ENTER();
  if (*count == 0 || *count > driver_count) *count = driver_count;
  for (uint32_t i = 0; out && i < *count; i++) out[i] = (ze_driver_handle_t)&drivers[i];
  return OK;
}
static ze_result_t my_zeInitDrivers(uint32_t *count, ze_driver_handle_t *out, void *desc) {
  ze_result_t code = my_zeInit(0);
  return code ? code : my_zeDriverGet(count, out);
}
static ze_result_t my_zeDriverGetApiVersion(ze_driver_handle_t h, ze_api_version_t *version) {
  ENTER();
  *version = (ze_api_version_t)VERSION(1, api_minor);
  return OK;
}
static ze_result_t my_zeDriverGetProperties(ze_driver_handle_t h, ze_driver_properties_t *p) {
  ENTER();
  memset(&p->uuid, 0xAB, sizeof p->uuid);
  p->driverVersion = driver_version + (uint32_t)((uint32_t *)h - drivers);
  return OK;
}
static ze_result_t my_zeDriverGetIpcProperties(ze_driver_handle_t h, ze_driver_ipc_properties_t *p) {
  p->flags = 0;
  return OK;
}
static ze_result_t my_zeDriverGetExtensionProperties(ze_driver_handle_t h, uint32_t *count, ze_driver_extension_properties_t *out) {
  static const char *known[] = {ZE_PCI_PROPERTIES_EXT_NAME, ZE_DEVICE_MEMORY_PROPERTIES_EXT_NAME, ZE_BANDWIDTH_PROPERTIES_EXP_NAME, ZES_POWER_LIMITS_EXT_NAME};
  char wanted[300];
  uint32_t found = 0;
  ENTER();
  for (int i = 0; i < 4; i++) {
    snprintf(wanted, sizeof wanted, ",%s,", known[i]);
    if (i && !strstr(extensions, wanted) && strcmp(extensions, ",all,")) continue;
    if (out && found < *count) {
      memset(&out[found], 0, sizeof *out);
      strcpy(out[found].name, known[i]);
      out[found].version = VERSION(1, 0);
    }
    found++;
  }
  *count = found;
  return OK;
}
static ze_result_t my_zeDriverGetExtensionFunctionAddress(ze_driver_handle_t h, const char *name, void **out) {
  *out = NULL;
  return ZE_RESULT_ERROR_INVALID_ARGUMENT;
}

static ze_result_t my_zeDeviceGet(ze_driver_handle_t h, uint32_t *count, ze_device_handle_t *out) {
  uint32_t driver = (uint32_t)((uint32_t *)h - drivers), found = 0;
  const char *mask = getenv("ZE_AFFINITY_MASK"); /* only "N,M": enough to see that it was cleared */
  const char *hierarchy = getenv("ZE_FLAT_DEVICE_HIERARCHY");
  int flat = !hierarchy || strcmp(hierarchy, "COMPOSITE");
  ENTER();
  for (uint32_t i = 0; i < device_count; i++) {
    struct device *d = &devices[i];
    int is_leaf = d->parent ? flat : !flat || d->tile_count == 0;
    char number[16];
    snprintf(number, sizeof number, "%u", i);
    if (d->driver != driver || !is_leaf || (mask && *mask && !strstr(mask, number))) continue;
    if (out && found < *count) out[found] = (ze_device_handle_t)d;
    found++;
  }
  if (*count == 0 || *count > found) *count = found;
  return OK;
}
static ze_result_t my_zeDeviceGetSubDevices(ze_device_handle_t h, uint32_t *count, ze_device_handle_t *out) {
  struct device *d = (struct device *)h;
  ENTER();
  if (*count == 0 || *count > d->tile_count) *count = d->tile_count;
  for (uint32_t i = 0; out && i < *count; i++) out[i] = (ze_device_handle_t)d->tiles[i];
  return OK;
}
static ze_result_t my_zeDeviceGetRootDevice(ze_device_handle_t h, ze_device_handle_t *out) {
  *out = (ze_device_handle_t)((struct device *)h)->parent;
  return OK;
}
static void fill_properties(const struct device *d, ze_device_properties_t *p) {
  p->type = d->type, p->vendorId = d->vendor, p->deviceId = d->id, p->subdeviceId = d->tile;
  p->flags = (d->parent ? ZE_DEVICE_PROPERTY_FLAG_SUBDEVICE : 0) | (d->ecc ? ZE_DEVICE_PROPERTY_FLAG_ECC : 0);
  p->coreClockRate = d->clock_mhz, p->maxMemAllocSize = d->memory, p->maxHardwareContexts = 65536;
  p->numThreadsPerEU = d->threads, p->physicalEUSimdWidth = 16, p->numEUsPerSubslice = d->eus;
  p->numSubslicesPerSlice = d->subslices, p->numSlices = d->slices;
  p->timerResolution = 52, p->timestampValidBits = 64, p->kernelTimestampValidBits = 32;
  memset(&p->uuid, 0, sizeof p->uuid);
  p->uuid.id[0] = 0x86, p->uuid.id[1] = 0x80, p->uuid.id[2] = d->id & 0xff, p->uuid.id[3] = d->id >> 8;
  p->uuid.id[6] = d->domain & 0xff, p->uuid.id[7] = d->domain >> 8;
  p->uuid.id[8] = d->bus, p->uuid.id[9] = d->slot, p->uuid.id[10] = d->function;
  p->uuid.id[15] = d->parent ? d->tile + 1 : 0;
  snprintf(p->name, sizeof p->name, "%s", d->name);
}
static ze_result_t my_zeDeviceGetProperties(ze_device_handle_t h, ze_device_properties_t *p) {
  ENTER();
  if (p->stype != ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES && p->stype != ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES_1_2)
    return ZE_RESULT_ERROR_INVALID_ARGUMENT;
  fill_properties((struct device *)h, p);
  return OK;
}
static ze_result_t my_zeDeviceGetComputeProperties(ze_device_handle_t h, ze_device_compute_properties_t *p) {
  p->maxTotalGroupSize = p->maxGroupSizeX = p->maxGroupSizeY = p->maxGroupSizeZ = 1024;
  p->maxGroupCountX = p->maxGroupCountY = p->maxGroupCountZ = 0xffffffff;
  p->maxSharedLocalMemory = 131072, p->numSubGroupSizes = 2, p->subGroupSizes[0] = 16, p->subGroupSizes[1] = 32;
  return OK;
}
static ze_result_t my_zeDeviceGetModuleProperties(ze_device_handle_t h, ze_device_module_properties_t *p) {
  p->spirvVersionSupported = VERSION(1, 2);
  p->flags = ZE_DEVICE_MODULE_FLAG_FP16 | ZE_DEVICE_MODULE_FLAG_FP64;
  p->fp16flags = p->fp32flags = p->fp64flags = 0;
  p->maxArgumentsSize = 2048, p->printfBufferSize = 4 << 20;
  return OK;
}
static ze_result_t my_zeDeviceGetCommandQueueGroupProperties(ze_device_handle_t h, uint32_t *count, ze_command_queue_group_properties_t *p) {
  if (p && *count) {
    p->flags = ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COMPUTE | ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COPY;
    p->maxMemoryFillPatternSize = 128, p->numQueues = 1;
  }
  *count = 1;
  return OK;
}
static ze_result_t my_zeDeviceGetMemoryProperties(ze_device_handle_t h, uint32_t *count, ze_device_memory_properties_t *p) {
  struct device *d = (struct device *)h;
  ENTER();
  if (p && *count) {
    p->flags = 0, p->maxClockRate = d->memory_clock, p->maxBusWidth = d->bus_width, p->totalSize = d->memory;
    strcpy(p->name, d->bus_width > 512 ? "HBM" : "GDDR6");
    ze_device_memory_ext_properties_t *extra = p->pNext;
    if (extra && extra->stype == ZE_STRUCTURE_TYPE_DEVICE_MEMORY_EXT_PROPERTIES) {
      extra->type = d->bus_width > 512 ? ZE_DEVICE_MEMORY_EXT_TYPE_HBM2 : ZE_DEVICE_MEMORY_EXT_TYPE_GDDR6;
      extra->physicalSize = d->memory, extra->readBandwidth = extra->writeBandwidth = 456;
      extra->bandwidthUnit = ZE_BANDWIDTH_UNIT_BYTES_PER_NANOSEC;
    }
  }
  *count = 1;
  return OK;
}
static ze_result_t my_zeDeviceGetMemoryAccessProperties(ze_device_handle_t h, ze_device_memory_access_properties_t *p) {
  p->hostAllocCapabilities = p->deviceAllocCapabilities = p->sharedSingleDeviceAllocCapabilities = ZE_MEMORY_ACCESS_CAP_FLAG_RW;
  p->sharedCrossDeviceAllocCapabilities = p->sharedSystemAllocCapabilities = 0;
  return OK;
}
static ze_result_t my_zeDeviceGetCacheProperties(ze_device_handle_t h, uint32_t *count, ze_device_cache_properties_t *p) {
  if (p && *count) p->flags = 0, p->cacheSize = 18 << 20;
  *count = 1;
  return OK;
}
static ze_result_t my_zeDeviceGetImageProperties(ze_device_handle_t h, ze_device_image_properties_t *p) { return OK; }
static ze_result_t my_zeDeviceGetExternalMemoryProperties(ze_device_handle_t h, ze_device_external_memory_properties_t *p) { return OK; }
static int may_access(const struct device *a, const struct device *b) {
  if (a == b || !strcmp(p2p, "all")) return 1;
  return !strcmp(p2p, "tiles") && a->parent && a->parent == b->parent;
}
static ze_result_t my_zeDeviceCanAccessPeer(ze_device_handle_t a, ze_device_handle_t b, ze_bool_t *value) {
  ENTER();
  *value = may_access((struct device *)a, (struct device *)b);
  return OK;
}
static ze_result_t my_zeDeviceGetP2PProperties(ze_device_handle_t a, ze_device_handle_t b, ze_device_p2p_properties_t *p) {
  ENTER();
  int access = may_access((struct device *)a, (struct device *)b);
  p->flags = access ? ZE_DEVICE_P2P_PROPERTY_FLAG_ACCESS : 0;
  if (access && ((struct device *)a)->parent) p->flags |= ZE_DEVICE_P2P_PROPERTY_FLAG_ATOMICS;
  ze_device_p2p_bandwidth_exp_properties_t *extra = p->pNext;
  if (extra && extra->stype == ZE_STRUCTURE_TYPE_DEVICE_P2P_BANDWIDTH_EXP_PROPERTIES) {
    extra->logicalBandwidth = extra->physicalBandwidth = access ? 53 : 0;
    extra->bandwidthUnit = ZE_BANDWIDTH_UNIT_BYTES_PER_NANOSEC;
    extra->logicalLatency = extra->physicalLatency = 1, extra->latencyUnit = ZE_LATENCY_UNIT_HOP;
  }
  return OK;
}
static ze_result_t my_zeDeviceGetStatus(ze_device_handle_t h) { return OK; }
static ze_result_t my_zeDeviceGetGlobalTimestamps(ze_device_handle_t h, uint64_t *host, uint64_t *device) {
  static uint64_t ticks;
  *host = *device = ++ticks * 1000;
  return OK;
}
static ze_result_t my_zeDevicePciGetPropertiesExt(ze_device_handle_t h, ze_pci_ext_properties_t *p) {
  const struct device *d = (struct device *)h;
  ENTER();
  p->address = (ze_pci_address_ext_t){d->domain, d->bus, d->slot, d->function};
  p->maxSpeed = (ze_pci_speed_ext_t){d->max_gen, d->max_width, d->max_gen ? (int64_t)d->max_width * (250000000ll << (d->max_gen - 1)) : -1};
  return OK;
}

/* ---- contexts, queues, memory: enough for copies through USM ---- */

static void *make_object(void) { return calloc(1, 64); }
static ze_result_t create_context(ze_driver_handle_t h, const ze_context_desc_t *desc, ze_context_handle_t *out) {
  *out = make_object();
  return OK;
}
static ze_result_t create_context_ex(ze_driver_handle_t h, const ze_context_desc_t *desc, uint32_t n, ze_device_handle_t *list, ze_context_handle_t *out) {
  *out = make_object();
  return OK;
}
static ze_result_t create_queue(ze_context_handle_t c, ze_device_handle_t d, const ze_command_queue_desc_t *desc, ze_command_queue_handle_t *out) {
  *out = make_object();
  return OK;
}
static ze_result_t create_list(ze_context_handle_t c, ze_device_handle_t d, const ze_command_list_desc_t *desc, ze_command_list_handle_t *out) {
  *out = make_object();
  return OK;
}
static ze_result_t create_list_immediate(ze_context_handle_t c, ze_device_handle_t d, const ze_command_queue_desc_t *desc, ze_command_list_handle_t *out) {
  *out = make_object();
  return OK;
}
static ze_result_t create_fence(ze_command_queue_handle_t q, const ze_fence_desc_t *desc, ze_fence_handle_t *out) {
  *out = make_object();
  return OK;
}
static ze_result_t create_pool(ze_context_handle_t c, const ze_event_pool_desc_t *desc, uint32_t n, ze_device_handle_t *list, ze_event_pool_handle_t *out) {
  *out = make_object();
  return OK;
}
static ze_result_t create_event(ze_event_pool_handle_t pool, const ze_event_desc_t *desc, ze_event_handle_t *out) {
  *out = make_object();
  return OK;
}
/* Everything is done when it is appended, so every wait is over and every event has happened. */
static ze_result_t succeed(void) { return OK; }
static ze_result_t copy_memory(ze_command_list_handle_t l, void *to, const void *from, size_t size) {
  memmove(to, from, size);
  return OK;
}
static ze_result_t fill_memory(ze_command_list_handle_t l, void *to, const void *pattern, size_t width, size_t size) {
  for (size_t at = 0; at < size; at += width) memcpy((char *)to + at, pattern, width < size - at ? width : size - at);
  return OK;
}
static ze_result_t query_timestamp(ze_event_handle_t e, ze_kernel_timestamp_result_t *p) {
  memset(p, 0, sizeof *p);
  return OK;
}

struct block {
  char *start;
  size_t size;
  ze_memory_type_t type;
  ze_device_handle_t device;
};
static struct block blocks[1024];
static ze_result_t allocate(size_t size, size_t align, ze_memory_type_t type, ze_device_handle_t device, void **out) {
  if (align < 4096) align = 4096;
  for (int i = 0; i < 1024; i++)
    if (!blocks[i].start) {
      if (posix_memalign(out, align, size ? size : 1)) return ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY;
      blocks[i] = (struct block){*out, size, type, device};
      return OK;
    }
  return ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY;
}
static struct block *find_block(const void *at) {
  for (int i = 0; i < 1024; i++)
    if (blocks[i].start && (char *)at >= blocks[i].start && (char *)at < blocks[i].start + blocks[i].size) return &blocks[i];
  return NULL;
}
static ze_result_t alloc_device(ze_context_handle_t c, const ze_device_mem_alloc_desc_t *desc, size_t size, size_t align, ze_device_handle_t d, void **out) {
  return allocate(size, align, ZE_MEMORY_TYPE_DEVICE, d, out);
}
static ze_result_t alloc_host(ze_context_handle_t c, const ze_host_mem_alloc_desc_t *desc, size_t size, size_t align, void **out) {
  return allocate(size, align, ZE_MEMORY_TYPE_HOST, NULL, out);
}
static ze_result_t alloc_shared(ze_context_handle_t c, const ze_device_mem_alloc_desc_t *dd, const ze_host_mem_alloc_desc_t *hd, size_t size, size_t align, ze_device_handle_t d, void **out) {
  return allocate(size, align, ZE_MEMORY_TYPE_SHARED, d, out);
}
static ze_result_t free_memory(ze_context_handle_t c, void *at) {
  struct block *block = find_block(at);
  if (block) free(block->start), block->start = NULL;
  return OK;
}
static ze_result_t free_memory_ext(ze_context_handle_t c, const void *desc, void *at) { return free_memory(c, at); }
static ze_result_t get_alloc_properties(ze_context_handle_t c, const void *at, ze_memory_allocation_properties_t *p, ze_device_handle_t *device) {
  struct block *block = find_block(at);
  p->type = block ? block->type : ZE_MEMORY_TYPE_UNKNOWN;
  p->id = block ? (uint64_t)(block - blocks) + 1 : 0, p->pageSize = 4096;
  if (device) *device = block ? block->device : NULL;
  return OK;
}
static ze_result_t get_address_range(ze_context_handle_t c, const void *at, void **base, size_t *size) {
  struct block *block = find_block(at);
  if (base) *base = block ? block->start : NULL;
  if (size) *size = block ? block->size : 0;
  return OK;
}

/* ---- sysman ---- */

static ze_result_t my_zesInit(uint32_t flags) {
  ENTER();
  is_sysman_ready = sysman_init_error == 0;
  return (ze_result_t)sysman_init_error;
}
static ze_result_t my_zesDriverGet(uint32_t *count, void **out) {
  ENTER();
  if (!is_sysman_ready) return ZE_RESULT_ERROR_UNINITIALIZED;
  if (out && *count) out[0] = &drivers[0];
  *count = 1;
  return OK;
}
static ze_result_t my_zesDeviceGet(void *driver, uint32_t *count, void **out) {
  uint32_t found = 0;
  ENTER();
  for (uint32_t i = 0; i < MOST_DEVICES && managers[i].tag; i++) {
    if (managers[i].device->type != ZE_DEVICE_TYPE_GPU) continue;
    if (out && found < *count) out[found] = &managers[i];
    found++;
  }
  *count = found;
  return OK;
}
static struct device *manage(void *handle) {
  struct manager *manager = handle;
  const char *legacy = getenv("ZES_ENABLE_SYSMAN");
  if (manager->tag == SYSMAN_TAG) return is_sysman_ready ? manager->device : NULL;
  return manager->tag == CORE_TAG && legacy && !strcmp(legacy, "1") && is_core_ready ? handle : NULL;
}
#define MANAGE(d, h) struct device *d = manage(h); ENTER(); if (!d) return ZE_RESULT_ERROR_UNINITIALIZED

static ze_result_t my_zesDeviceGetProperties(zes_device_handle_t h, zes_device_properties_t *p) {
  MANAGE(d, h);
  fill_properties(d, &p->core);
  p->numSubdevices = d->tile_count;
  strcpy(p->serialNumber, "SECRET-SERIAL-1234"), strcpy(p->boardNumber, "SECRET-BOARD-5678");
  strcpy(p->brandName, "unknown"), strcpy(p->modelName, d->model), strcpy(p->vendorName, "Intel(R) Corporation");
  strcpy(p->driverVersion, "0123456789ABCDEF");
  return OK;
}
static ze_result_t my_zesDeviceGetState(zes_device_handle_t h, zes_device_state_t *p) {
  MANAGE(d, h);
  p->reset = d->reset, p->repaired = ZES_REPAIR_STATUS_NOT_PERFORMED;
  return OK;
}
static ze_result_t my_zesDeviceProcessesGetState(zes_device_handle_t h, uint32_t *count, zes_process_state_t *p) {
  MANAGE(d, h);
  *count = d->processes;
  return OK;
}
static ze_result_t my_zesDevicePciGetProperties(zes_device_handle_t h, zes_pci_properties_t *p) {
  MANAGE(d, h);
  p->address = (zes_pci_address_t){d->domain, d->bus, d->slot, d->function};
  p->maxSpeed = (zes_pci_speed_t){d->max_gen, d->max_width, -1};
  p->haveBandwidthCounters = p->havePacketCounters = p->haveReplayCounters = d->pcie_counters != 0;
  return OK;
}
static ze_result_t my_zesDevicePciGetState(zes_device_handle_t h, zes_pci_state_t *p) {
  MANAGE(d, h);
  p->status = d->link_width < d->max_width ? ZES_PCI_LINK_STATUS_QUALITY_ISSUES : ZES_PCI_LINK_STATUS_GOOD;
  p->qualityIssues = d->link_width < d->max_width ? ZES_PCI_LINK_QUAL_ISSUE_FLAG_SPEED : 0, p->stabilityIssues = 0;
  p->speed = (zes_pci_speed_t){d->link_gen, d->link_width, -1};
  return OK;
}
static ze_result_t my_zesDevicePciGetStats(zes_device_handle_t h, zes_pci_stats_t *p) {
  MANAGE(d, h);
  memset(p, 0, sizeof *p);
  p->rxCounter = d->pcie_rx, p->txCounter = d->pcie_tx, p->replayCounter = d->pcie_replays;
  return OK;
}
static ze_result_t my_zesDeviceEccAvailable(zes_device_handle_t h, ze_bool_t *value) {
  MANAGE(d, h);
  *value = d->ecc != 0;
  return OK;
}
static ze_result_t my_zesDeviceGetEccState(zes_device_handle_t h, zes_device_ecc_properties_t *p) {
  MANAGE(d, h);
  p->currentState = d->ecc, p->pendingState = d->ecc, p->pendingAction = ZES_DEVICE_ACTION_NONE;
  return OK;
}

static ze_result_t list_parts(struct device *d, int kind, uint32_t have, uint32_t *count, void *out) {
  if (*count == 0 || *count > have) *count = have;
  for (uint32_t i = 0; out && i < *count; i++) ((void **)out)[i] = &d->parts[kind][i];
  return OK;
}
static uint32_t per_tile(const struct device *d) { return d->tile_count ? d->tile_count : 1; }
#define LIST(function, kind, have)                                             \
  static ze_result_t function(zes_device_handle_t h, uint32_t *count, void *out) { \
    MANAGE(d, h);                                                              \
    return list_parts(d, kind, have, count, out);                              \
  }
LIST(my_zesDeviceEnumFrequencyDomains, FREQUENCY, per_tile(d))
LIST(my_zesDeviceEnumPowerDomains, POWER, 1)
LIST(my_zesDeviceEnumTemperatureSensors, TEMPERATURE, 2)
LIST(my_zesDeviceEnumMemoryModules, MEMORY, per_tile(d))
LIST(my_zesDeviceEnumFabricPorts, PORT, d->fabric_ports)
LIST(my_zesDeviceEnumFirmwares, FIRMWARE, d->firmware_count)
LIST(my_zesDeviceEnumRasErrorSets, RAS, 2)
LIST(my_zesDeviceEnumEngineGroups, ENGINE, 4)

#define PART(d, n, h) struct device *d = ((struct part *)(h))->owner; uint32_t n = ((struct part *)(h))->number; ENTER(); (void)n; (void)d
#define PLACE(p, d, n) (p)->onSubdevice = (d)->tile_count > 0, (p)->subdeviceId = (d)->tile_count ? (n) % (d)->tile_count : 0

static ze_result_t my_zesFrequencyGetProperties(zes_freq_handle_t h, zes_freq_properties_t *p) {
  PART(d, n, h);
  PLACE(p, d, n);
  p->type = ZES_FREQ_DOMAIN_GPU, p->canControl = 1, p->isThrottleEventSupported = 0, p->min = 400, p->max = d->clock_mhz;
  return OK;
}
static ze_result_t my_zesFrequencyGetState(zes_freq_handle_t h, zes_freq_state_t *p) {
  PART(d, n, h);
  p->currentVoltage = -1, p->tdp = -1, p->efficient = 800, p->request = d->clock_mhz, p->actual = d->frequency;
  p->throttleReasons = d->throttle;
  return OK;
}
static ze_result_t my_zesFrequencyGetRange(zes_freq_handle_t h, zes_freq_range_t *p) {
  PART(d, n, h);
  p->min = 400, p->max = d->clock_mhz;
  return OK;
}
static ze_result_t my_zesPowerGetProperties(zes_pwr_handle_t h, zes_power_properties_t *p) {
  PART(d, n, h);
  p->onSubdevice = 0, p->canControl = 1, p->isEnergyThresholdSupported = 0;
  p->defaultLimit = d->power_mw, p->minLimit = -1, p->maxLimit = d->power_mw;
  zes_power_ext_properties_t *extra = p->pNext;
  if (extra && extra->stype == ZES_STRUCTURE_TYPE_POWER_EXT_PROPERTIES) extra->domain = ZES_POWER_DOMAIN_CARD;
  return OK;
}
static ze_result_t my_zesPowerGetEnergyCounter(zes_pwr_handle_t h, zes_power_energy_counter_t *p) {
  PART(d, n, h);
  p->energy = 123456789, p->timestamp = 987654321;
  return OK;
}
static ze_result_t my_zesPowerGetLimits(zes_pwr_handle_t h, zes_power_sustained_limit_t *sustained, zes_power_burst_limit_t *burst, zes_power_peak_limit_t *peak) {
  PART(d, n, h);
  if (d->power_ext) return ZE_RESULT_ERROR_UNSUPPORTED_FEATURE; /* as the xe driver does */
  *sustained = (zes_power_sustained_limit_t){1, d->power_mw, 28000};
  *burst = (zes_power_burst_limit_t){0, -1};
  *peak = (zes_power_peak_limit_t){d->power_mw * 2, -1};
  return OK;
}
static ze_result_t my_zesPowerGetLimitsExt(zes_pwr_handle_t h, uint32_t *count, zes_power_limit_ext_desc_t *p) {
  PART(d, n, h);
  if (p && *count) {
    p->level = ZES_POWER_LEVEL_SUSTAINED, p->source = ZES_POWER_SOURCE_ANY, p->limitUnit = ZES_LIMIT_UNIT_POWER;
    p->enabled = 1, p->enabledStateLocked = 1, p->intervalValueLocked = 1, p->interval = -1, p->limitValueLocked = 0;
    p->limit = d->power_mw;
  }
  *count = 1;
  return OK;
}
static ze_result_t my_zesTemperatureGetProperties(zes_temp_handle_t h, zes_temp_properties_t *p) {
  PART(d, n, h);
  p->type = n ? ZES_TEMP_SENSORS_MEMORY : ZES_TEMP_SENSORS_GPU, p->onSubdevice = 0, p->maxTemperature = n ? -1 : 100;
  p->isCriticalTempSupported = p->isThreshold1Supported = p->isThreshold2Supported = 0;
  return OK;
}
static ze_result_t my_zesTemperatureGetState(zes_temp_handle_t h, double *value) {
  PART(d, n, h);
  *value = d->temperature + 10 * n;
  return OK;
}
static ze_result_t my_zesMemoryGetProperties(zes_mem_handle_t h, zes_mem_properties_t *p) {
  PART(d, n, h);
  PLACE(p, d, n);
  p->type = d->bus_width > 512 ? ZES_MEM_TYPE_HBM : ZES_MEM_TYPE_GDDR6, p->location = ZES_MEM_LOC_DEVICE;
  p->physicalSize = d->memory / per_tile(d), p->busWidth = d->bus_width, p->numChannels = -1;
  return OK;
}
static ze_result_t my_zesMemoryGetState(zes_mem_handle_t h, zes_mem_state_t *p) {
  PART(d, n, h);
  p->health = d->health, p->size = d->memory / per_tile(d), p->free = d->memory_free / per_tile(d);
  return OK;
}
static ze_result_t my_zesFabricPortGetProperties(zes_fabric_port_handle_t h, zes_fabric_port_properties_t *p) {
  PART(d, n, h);
  PLACE(p, d, n);
  strcpy(p->model, "XeLink");
  p->portId = (zes_fabric_port_id_t){0x100 + d->bus, d->tile_count ? n % d->tile_count : 0, n + 1};
  p->maxRxSpeed = p->maxTxSpeed = (zes_fabric_port_speed_t){53125000000, 4};
  return OK;
}
static ze_result_t my_zesFabricPortGetState(zes_fabric_port_handle_t h, zes_fabric_port_state_t *p) {
  PART(d, n, h);
  int is_up = n + 1 < d->fabric_ports; /* the last port has no cable */
  p->status = is_up ? ZES_FABRIC_PORT_STATUS_HEALTHY : ZES_FABRIC_PORT_STATUS_DISABLED;
  p->qualityIssues = p->failureReasons = 0;
  p->remotePortId = (zes_fabric_port_id_t){is_up ? 0x200 : 0, 0, is_up ? n + 1 : 0};
  p->rxSpeed = p->txSpeed = (zes_fabric_port_speed_t){is_up ? 53125000000 : -1, is_up ? 4 : -1};
  return OK;
}
static ze_result_t my_zesFabricPortGetLinkType(zes_fabric_port_handle_t h, zes_fabric_link_type_t *p) {
  PART(d, n, h);
  strcpy(p->desc, "XeLink");
  return OK;
}
static ze_result_t my_zesFirmwareGetProperties(zes_firmware_handle_t h, zes_firmware_properties_t *p) {
  PART(d, n, h);
  p->onSubdevice = 0, p->canControl = 1;
  strcpy(p->name, d->firmware[n][0]), strcpy(p->version, d->firmware[n][1]);
  return OK;
}
static ze_result_t my_zesRasGetProperties(zes_ras_handle_t h, zes_ras_properties_t *p) {
  PART(d, n, h);
  p->type = n ? ZES_RAS_ERROR_TYPE_UNCORRECTABLE : ZES_RAS_ERROR_TYPE_CORRECTABLE, p->onSubdevice = 0;
  return OK;
}
static ze_result_t my_zesRasGetState(zes_ras_handle_t h, ze_bool_t clear, zes_ras_state_t *p) {
  PART(d, n, h);
  if (clear) return ZE_RESULT_ERROR_INSUFFICIENT_PERMISSIONS; /* a probe must never clear counters */
  memset(p->category, 0, sizeof p->category);
  p->category[ZES_RAS_ERROR_CAT_COMPUTE_ERRORS] = n ? d->ras_uncorrectable : 0;
  return OK;
}
static ze_result_t my_zesEngineGetProperties(zes_engine_handle_t h, zes_engine_properties_t *p) {
  static const zes_engine_group_t groups[] = {ZES_ENGINE_GROUP_ALL, ZES_ENGINE_GROUP_COMPUTE_SINGLE, ZES_ENGINE_GROUP_COMPUTE_SINGLE, ZES_ENGINE_GROUP_COPY_SINGLE};
  PART(d, n, h);
  p->type = groups[n], p->onSubdevice = 0;
  return OK;
}

static ze_result_t my_zesEngineGetActivity(zes_engine_handle_t h, zes_engine_stats_t *p) {
  PART(d, n, h);
  if (!d->engine_clock_us) return ZE_RESULT_ERROR_UNSUPPORTED_FEATURE;
  p->activeTime = d->engine_active_us / (n + 1), p->timestamp = d->engine_clock_us;
  return OK;
}

/* ---- tables; the empty ones are in fake_level_zero_tables.c ---- */

#define TABLE(name, type) EXPORT ze_result_t name(ze_api_version_t version, type *t)
#define ANY (void *)
#define AT(position, minor, function) if ((uint32_t)version >= VERSION(1, minor)) ((void **)t)[position] = ANY(function)

TABLE(zeGetGlobalProcAddrTable, ze_global_dditable_t) {
  t->pfnInit = my_zeInit;
  AT(1, 10, my_zeInitDrivers);
  return OK;
}
TABLE(zeGetDriverProcAddrTable, ze_driver_dditable_t) {
  t->pfnGet = my_zeDriverGet, t->pfnGetApiVersion = my_zeDriverGetApiVersion, t->pfnGetProperties = my_zeDriverGetProperties;
  t->pfnGetIpcProperties = my_zeDriverGetIpcProperties, t->pfnGetExtensionProperties = my_zeDriverGetExtensionProperties;
  t->pfnGetExtensionFunctionAddress = my_zeDriverGetExtensionFunctionAddress;
  return OK;
}
TABLE(zeGetDeviceProcAddrTable, ze_device_dditable_t) {
  t->pfnGet = my_zeDeviceGet, t->pfnGetSubDevices = my_zeDeviceGetSubDevices, t->pfnGetProperties = my_zeDeviceGetProperties;
  t->pfnGetComputeProperties = my_zeDeviceGetComputeProperties, t->pfnGetModuleProperties = my_zeDeviceGetModuleProperties;
  t->pfnGetCommandQueueGroupProperties = my_zeDeviceGetCommandQueueGroupProperties;
  t->pfnGetMemoryProperties = my_zeDeviceGetMemoryProperties, t->pfnGetMemoryAccessProperties = my_zeDeviceGetMemoryAccessProperties;
  t->pfnGetCacheProperties = my_zeDeviceGetCacheProperties, t->pfnGetImageProperties = my_zeDeviceGetImageProperties;
  t->pfnGetExternalMemoryProperties = my_zeDeviceGetExternalMemoryProperties;
  t->pfnGetP2PProperties = my_zeDeviceGetP2PProperties, t->pfnCanAccessPeer = my_zeDeviceCanAccessPeer;
  t->pfnGetStatus = my_zeDeviceGetStatus, t->pfnGetGlobalTimestamps = my_zeDeviceGetGlobalTimestamps;
  t->pfnPciGetPropertiesExt = my_zeDevicePciGetPropertiesExt;
  AT(18, 7, my_zeDeviceGetRootDevice);
  return OK;
}
TABLE(zeGetContextProcAddrTable, ze_context_dditable_t) {
  t->pfnCreate = create_context, t->pfnCreateEx = create_context_ex, t->pfnDestroy = ANY succeed;
  t->pfnGetStatus = ANY succeed, t->pfnSystemBarrier = ANY succeed;
  t->pfnMakeMemoryResident = ANY succeed, t->pfnEvictMemory = ANY succeed;
  return OK;
}
TABLE(zeGetCommandQueueProcAddrTable, ze_command_queue_dditable_t) {
  t->pfnCreate = create_queue, t->pfnDestroy = ANY succeed, t->pfnExecuteCommandLists = ANY succeed, t->pfnSynchronize = ANY succeed;
  return OK;
}
TABLE(zeGetCommandListProcAddrTable, ze_command_list_dditable_t) {
  t->pfnCreate = create_list, t->pfnCreateImmediate = create_list_immediate, t->pfnDestroy = ANY succeed;
  t->pfnClose = ANY succeed, t->pfnReset = ANY succeed, t->pfnAppendBarrier = ANY succeed;
  t->pfnAppendMemoryRangesBarrier = ANY succeed, t->pfnAppendMemoryCopy = ANY copy_memory, t->pfnAppendMemoryFill = ANY fill_memory;
  t->pfnAppendMemoryPrefetch = ANY succeed, t->pfnAppendMemAdvise = ANY succeed, t->pfnAppendSignalEvent = ANY succeed;
  t->pfnAppendWaitOnEvents = ANY succeed, t->pfnAppendEventReset = ANY succeed;
  AT(28, 6, succeed); /* pfnHostSynchronize */
  return OK;
}
TABLE(zeGetFenceProcAddrTable, ze_fence_dditable_t) {
  t->pfnCreate = create_fence, t->pfnDestroy = ANY succeed, t->pfnHostSynchronize = ANY succeed;
  t->pfnQueryStatus = ANY succeed, t->pfnReset = ANY succeed;
  return OK;
}
TABLE(zeGetEventPoolProcAddrTable, ze_event_pool_dditable_t) {
  t->pfnCreate = create_pool, t->pfnDestroy = ANY succeed;
  return OK;
}
TABLE(zeGetEventProcAddrTable, ze_event_dditable_t) {
  t->pfnCreate = create_event, t->pfnDestroy = ANY succeed, t->pfnHostSignal = ANY succeed, t->pfnHostReset = ANY succeed;
  t->pfnHostSynchronize = ANY succeed, t->pfnQueryStatus = ANY succeed, t->pfnQueryKernelTimestamp = query_timestamp;
  return OK;
}
TABLE(zeGetMemProcAddrTable, ze_mem_dditable_t) {
  t->pfnAllocDevice = alloc_device, t->pfnAllocHost = alloc_host, t->pfnAllocShared = alloc_shared, t->pfnFree = free_memory;
  t->pfnFreeExt = ANY free_memory_ext, t->pfnGetAllocProperties = get_alloc_properties, t->pfnGetAddressRange = get_address_range;
  return OK;
}
EXPORT ze_result_t zesGetGlobalProcAddrTable(ze_api_version_t version, void *t) {
  AT(0, 5, my_zesInit);
  return OK;
}
TABLE(zesGetDriverProcAddrTable, zes_driver_dditable_t) {
  AT(2, 5, my_zesDriverGet);
  return OK;
}
TABLE(zesGetDeviceProcAddrTable, zes_device_dditable_t) {
  t->pfnGetProperties = my_zesDeviceGetProperties, t->pfnGetState = my_zesDeviceGetState;
  t->pfnProcessesGetState = my_zesDeviceProcessesGetState, t->pfnPciGetProperties = my_zesDevicePciGetProperties;
  t->pfnPciGetState = my_zesDevicePciGetState, t->pfnPciGetStats = my_zesDevicePciGetStats, t->pfnEccAvailable = my_zesDeviceEccAvailable, t->pfnGetEccState = my_zesDeviceGetEccState;
  t->pfnEnumFrequencyDomains = ANY my_zesDeviceEnumFrequencyDomains, t->pfnEnumPowerDomains = ANY my_zesDeviceEnumPowerDomains;
  t->pfnEnumTemperatureSensors = ANY my_zesDeviceEnumTemperatureSensors, t->pfnEnumMemoryModules = ANY my_zesDeviceEnumMemoryModules;
  t->pfnEnumFabricPorts = ANY my_zesDeviceEnumFabricPorts, t->pfnEnumFirmwares = ANY my_zesDeviceEnumFirmwares;
  t->pfnEnumRasErrorSets = ANY my_zesDeviceEnumRasErrorSets, t->pfnEnumEngineGroups = ANY my_zesDeviceEnumEngineGroups;
  AT(29, 5, my_zesDeviceGet);
  return OK;
}
TABLE(zesGetFrequencyProcAddrTable, zes_frequency_dditable_t) {
  t->pfnGetProperties = my_zesFrequencyGetProperties, t->pfnGetState = my_zesFrequencyGetState, t->pfnGetRange = my_zesFrequencyGetRange;
  return OK;
}
TABLE(zesGetPowerProcAddrTable, zes_power_dditable_t) {
  t->pfnGetProperties = my_zesPowerGetProperties, t->pfnGetEnergyCounter = my_zesPowerGetEnergyCounter;
  t->pfnGetLimits = my_zesPowerGetLimits, t->pfnGetLimitsExt = my_zesPowerGetLimitsExt;
  return OK;
}
TABLE(zesGetTemperatureProcAddrTable, zes_temperature_dditable_t) {
  t->pfnGetProperties = my_zesTemperatureGetProperties, t->pfnGetState = my_zesTemperatureGetState;
  return OK;
}
TABLE(zesGetMemoryProcAddrTable, zes_memory_dditable_t) {
  t->pfnGetProperties = my_zesMemoryGetProperties, t->pfnGetState = my_zesMemoryGetState;
  return OK;
}
TABLE(zesGetFabricPortProcAddrTable, zes_fabric_port_dditable_t) {
  t->pfnGetProperties = my_zesFabricPortGetProperties, t->pfnGetState = my_zesFabricPortGetState, t->pfnGetLinkType = my_zesFabricPortGetLinkType;
  return OK;
}
TABLE(zesGetFirmwareProcAddrTable, zes_firmware_dditable_t) {
  t->pfnGetProperties = my_zesFirmwareGetProperties;
  return OK;
}
TABLE(zesGetRasProcAddrTable, zes_ras_dditable_t) {
  t->pfnGetProperties = my_zesRasGetProperties, t->pfnGetState = my_zesRasGetState;
  return OK;
}
TABLE(zesGetEngineProcAddrTable, zes_engine_dditable_t) {
  t->pfnGetProperties = my_zesEngineGetProperties, t->pfnGetActivity = my_zesEngineGetActivity;
  return OK;
}
