#include "cuda_launcher.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <limits>
#include <stdexcept>

namespace ddgan {
namespace {

// What a block may have without asking; more is granted kernel by kernel.
constexpr unsigned kDefaultSharedBytes = 48 * 1024;

constexpr int64_t kMostGrid[] = {std::numeric_limits<int32_t>::max(), 65535, 65535};

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file || bytes.empty())
    throw std::runtime_error("CUDA: " + path.string() + " cannot be read");
  return bytes;
}

// One kernel argument as cuLaunchKernel reads it: 8 bytes of a pointer or 4 of an int32.
union Value {
  const void* pointer;
  int32_t number;
};

int32_t Int32(std::string_view name, int64_t value) {
  if (value < std::numeric_limits<int32_t>::min() || value > std::numeric_limits<int32_t>::max()) {
    throw std::invalid_argument("CUDA: " + std::string(name) + " is " + std::to_string(value) +
                                ", the kernels take 32-bit numbers");
  }
  return static_cast<int32_t>(value);
}

const void* Find(const CudaLauncher::Tensors& tensors, std::string_view name) {
  for (const auto& [key, pointer] : tensors) {
    if (key == name) return pointer;
  }
  throw std::out_of_range("CUDA: launches.txt names the tensor '" + std::string(name) +
                          "', which the op does not have");
}

uint64_t Address(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

void Launch(const KernelLaunch& launch, cuda::Function function, const Sizes& sizes,
            const CudaLauncher::Tensors& tensors, cuda::Stream stream) {
  unsigned grid[3];
  for (size_t i = 0; i < 3; ++i) {
    const int64_t extent = launch.grid[i].Evaluate(sizes);
    if (extent < 1 || extent > kMostGrid[i]) {
      throw std::invalid_argument("CUDA: " + launch.symbol + " needs a grid of " +
                                  std::to_string(extent) + " blocks along " + "xyz"[i] +
                                  ", it may have 1 to " + std::to_string(kMostGrid[i]));
    }
    grid[i] = static_cast<unsigned>(extent);
  }
  // Each kernel has two further pointer parameters, scratch memory that none of ours uses.
  std::vector<Value> values(launch.arguments.size() + 2, Value{nullptr});
  std::vector<void*> parameters;
  for (size_t i = 0; i < values.size(); ++i) {
    if (i < launch.arguments.size()) {
      const auto& [name, pointer] = launch.arguments[i];
      if (pointer) {
        values[i].pointer = Find(tensors, name);
      } else {
        values[i].number = Int32(name, sizes[name]);
      }
    }
    parameters.push_back(&values[i]);
  }
  // The driver copies the values before it returns.
  const auto& driver = cuda::Driver::Get();
  driver.Check(driver.cuLaunchKernel(function, grid[0], grid[1], grid[2], launch.threads, 1, 1,
                                     launch.shared_bytes, stream, parameters.data(), nullptr),
               "launching", launch.symbol.c_str());
}

}  // namespace

const Launches& CudaLauncher::Index() const {
  const std::lock_guard lock(mutex_);
  if (index_ == nullptr) index_ = std::make_unique<const Launches>(folder_);
  return *index_;
}

void CudaLauncher::Run(const std::string& variant, const Sizes& sizes, const Tensors& tensors,
                       cuda::Stream stream, const AllocateScratch& allocate) const {
  const Launches& index = Index();
  const cuda::CurrentContext context(stream);
  uint64_t addresses = 0;
  for (const auto& [name, pointer] : tensors) addresses |= Address(pointer);
  const Plan& plan = index.Choose(variant, Arch(context.get()), sizes, addresses);

  Sizes all_sizes = sizes;
  for (const auto& [name, extent] : plan.derived) all_sizes.Add(name, extent.Evaluate(sizes));
  Tensors all_tensors = tensors;
  for (const auto& [name, shape] : plan.temporaries) {
    int64_t bytes = sizeof(float);
    for (const Extent& extent : shape) {
      if (__builtin_mul_overflow(bytes, extent.Evaluate(all_sizes), &bytes)) {
        throw std::overflow_error("CUDA: " + variant + ": the temporary " + name + " is too large");
      }
    }
    const void* const pointer = allocate(static_cast<size_t>(bytes));
    if (plan.alignment > 0 && Address(pointer) % static_cast<uint64_t>(plan.alignment) != 0) {
      throw std::runtime_error("CUDA: scratch memory is not aligned to " +
                               std::to_string(plan.alignment) + " bytes");
    }
    all_tensors.emplace_back(name, pointer);
  }
  for (const KernelLaunch& launch : plan.launches) {
    Launch(launch, Find(context.get(), launch), all_sizes, all_tensors, stream);
  }
}

const void* CudaLauncher::Repeat(const void* row, size_t bytes, size_t rows, cuda::Stream stream,
                                 const AllocateScratch& allocate) {
  const cuda::CurrentContext context(stream);
  const auto& driver = cuda::Driver::Get();
  const void* const scratch = allocate(rows * bytes);
  const cuda::DevicePointer to = Address(scratch);
  // Doubling what is there: few copies however many rows.
  driver.Check(driver.cuMemcpyDtoDAsync_v2(to, Address(row), bytes, stream), "copying a row");
  for (size_t done = 1; done < rows; done *= 2) {
    const size_t more = std::min(done, rows - done);
    driver.Check(driver.cuMemcpyDtoDAsync_v2(to + done * bytes, to, more * bytes, stream),
                 "copying rows");
  }
  return scratch;
}

// Call with the mutex held and the context current.
CudaLauncher::Loaded& CudaLauncher::Of(cuda::Context context) const {
  const auto found = loaded_.find(context);
  if (found != loaded_.end()) return found->second;
  const auto& driver = cuda::Driver::Get();
  cuda::Device device;
  driver.Check(driver.cuCtxGetDevice(&device), "asking for the device");
  const auto attribute = [&](cuda::DeviceAttribute which) {
    int value = 0;
    driver.Check(driver.cuDeviceGetAttribute(&value, which, device), "asking what the device is");
    return value;
  };
  Loaded loaded;
  loaded.arch = attribute(cuda::kMajor) * 10 + attribute(cuda::kMinor);
  loaded.most_shared_bytes = attribute(cuda::kMostSharedBytesABlock);
  return loaded_.emplace(context, std::move(loaded)).first->second;
}

int CudaLauncher::Arch(cuda::Context context) const {
  const std::lock_guard lock(mutex_);
  return Of(context).arch;
}

cuda::Function CudaLauncher::Find(cuda::Context context, const KernelLaunch& launch) const {
  const std::lock_guard lock(mutex_);
  Loaded& loaded = Of(context);
  const auto found = loaded.functions.find(&launch);
  if (found != loaded.functions.end()) return found->second;
  if (launch.shared_bytes > static_cast<unsigned>(loaded.most_shared_bytes)) {
    throw std::runtime_error("CUDA: " + launch.file + " needs " +
                             std::to_string(launch.shared_bytes) +
                             " bytes of shared memory a block, the device has " +
                             std::to_string(loaded.most_shared_bytes));
  }
  const auto& driver = cuda::Driver::Get();
  const auto module = loaded.modules.try_emplace(launch.file, nullptr).first;
  if (module->second == nullptr) {
    const std::string image = ReadFile(folder_ / launch.file);
    driver.Check(driver.cuModuleLoadData(&module->second, image.data()), "loading",
                 launch.file.c_str());
  }
  cuda::Function function = nullptr;
  driver.Check(driver.cuModuleGetFunction(&function, module->second, launch.symbol.c_str()),
               "looking for", (launch.symbol + " in " + launch.file).c_str());
  if (launch.shared_bytes > kDefaultSharedBytes) {
    driver.Check(driver.cuFuncSetAttribute(function, cuda::kMostDynamicSharedBytes,
                                           static_cast<int>(launch.shared_bytes)),
                 "asking for the shared memory of", launch.symbol.c_str());
  }
  loaded.functions.emplace(&launch, function);
  return function;
}

}  // namespace ddgan
