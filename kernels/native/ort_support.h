// What every ONNX Runtime op of this library shares: no exception leaves the library, shapes are
// inferred, messages read alike, and work is split over the session's own threads.
#pragma once

// The library does not link to ONNX Runtime: the API arrives through RegisterCustomOps.
#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>
#undef ORT_API_MANUAL_INIT

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu_kernels.h"

namespace ddgan {

// What the library asks of the runtime, whatever the headers' own version: the oldest that will do.
constexpr uint32_t kApiVersion = 21;

using Shape = std::vector<int64_t>;

// Runs `action` and turns what it throws into a status.
template <class Action>
OrtStatusPtr Guarded(const Action& action) noexcept {
  try {
    action();
    return nullptr;
  } catch (const Ort::Exception& error) {
    return Ort::GetApi().CreateStatus(error.GetOrtErrorCode(), error.what());
  } catch (const std::invalid_argument& error) {
    return Ort::GetApi().CreateStatus(ORT_INVALID_ARGUMENT, error.what());
  } catch (const std::exception& error) {
    return Ort::GetApi().CreateStatus(ORT_FAIL, error.what());
  }
}

// "[2, 7]"
inline std::string Text(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// The attributes of a node; errors name the op.
class Attributes {
 public:
  Attributes(const char* op, const OrtKernelInfo* info) : op_(op), info_(info) {}

 private:
  template <class Action>
  auto Named(const char* name, const Action& action) const {
    try {
      return action();
    } catch (const Ort::Exception& error) {
      throw std::invalid_argument(op_ + ": attribute " + name + ": " + error.what());
    }
  }

 public:
  template <class T>
  T Get(const char* name) const {
    return Named(name, [&] { return info_.GetAttribute<T>(name); });
  }

  std::vector<int64_t> Integers(const char* name) const {
    return Named(name, [&] { return info_.GetAttributes<int64_t>(name); });
  }

  // As many as there is room for.
  template <size_t kCount>
  void Floats(const char* name, float (&values)[kCount]) const {
    const auto given = Named(name, [&] { return info_.GetAttributes<float>(name); });
    if (given.size() != kCount)
      throw std::invalid_argument(op_ + ": " + name + " has " + std::to_string(given.size()) +
                                  " values, it must have " + std::to_string(kCount));
    std::copy(given.begin(), given.end(), values);
  }

  // The position of a string attribute's value among those that the op knows.
  size_t OneOf(const char* name, std::initializer_list<const char*> known) const {
    return Position(name, Get<std::string>(name), known);
  }

  // The same of an attribute that may be absent, which is the first of them.
  size_t OneOfOrFirst(const char* name, std::initializer_list<const char*> known) const {
    std::string value;
    try {
      value = info_.GetAttribute<std::string>(name);
    } catch (const Ort::Exception&) {
      return 0;
    }
    return Position(name, value, known);
  }

 private:
  size_t Position(const char* name, const std::string& value,
                  std::initializer_list<const char*> known) const {
    std::string names;
    for (size_t i = 0; i < known.size(); ++i) {
      if (value == known.begin()[i]) return i;
      names += (i ? ", " : "") + std::string(known.begin()[i]);
    }
    throw std::invalid_argument(op_ + ": " + name + " '" + value + "' is not one of " + names);
  }

  std::string op_;
  Ort::ConstKernelInfo info_;
};

// What a graph says of one extent: its value, or the name of all that equal it; or neither, where
// the value is negative and the name empty.
struct Dimension {
  bool Known() const { return value >= 0 || !name.empty(); }

  int64_t value = -1;
  std::string name;
};

using SymbolicShape = std::vector<Dimension>;

// What is known of a node's inputs when the graph is loaded.
class Inference {
 public:
  explicit Inference(OrtShapeInferContext* context) : context_(context) {}

  // False where the input has no shape; one of unknown rank may also look like a scalar's.
  bool InputShape(size_t index, SymbolicShape* shape,
                  ONNXTensorElementDataType* type = nullptr) const {
    OrtTensorTypeAndShapeInfo* info = nullptr;
    if (OrtStatusPtr status =
            Ort::GetApi().ShapeInferContext_GetInputTypeShape(context_, index, &info)) {
      Ort::GetApi().ReleaseStatus(status);
      return false;
    }
    const Ort::ConstTensorTypeAndShapeInfo borrowed(info);
    if (type != nullptr) *type = borrowed.GetElementType();
    const Shape values = borrowed.GetShape();
    std::vector<const char*> names(values.size());
    borrowed.GetSymbolicDimensions(names.data(), names.size());
    shape->assign(values.size(), {});
    for (size_t i = 0; i < values.size(); ++i) {
      (*shape)[i].value = values[i];
      if (values[i] < 0 && names[i] != nullptr) (*shape)[i].name = names[i];
    }
    return true;
  }

  std::vector<int64_t> Integers(const char* name) const {
    const OrtApi& api = Ort::GetApi();
    const OrtOpAttr* attribute = nullptr;
    Ort::ThrowOnError(api.ShapeInferContext_GetAttribute(context_, name, &attribute));
    size_t bytes = 0;
    // The first call tells the size by failing.
    if (OrtStatusPtr status = api.ReadOpAttr(attribute, ORT_OP_ATTR_INTS, nullptr, 0, &bytes)) {
      api.ReleaseStatus(status);
    }
    std::vector<int64_t> values(bytes / sizeof(int64_t));
    if (!values.empty()) {
      Ort::ThrowOnError(api.ReadOpAttr(attribute, ORT_OP_ATTR_INTS, values.data(), bytes, &bytes));
    }
    return values;
  }

  // False where nothing is said because nothing is known of an extent: ONNX Runtime would take it
  // for the value -1, equal to every other such extent, and reuse one's memory for another.
  bool SetOutput(const SymbolicShape& shape, ONNXTensorElementDataType type) const {
    Shape values;
    std::vector<const char*> names;
    for (const Dimension& dimension : shape) {
      if (!dimension.Known()) return false;
      values.push_back(std::max<int64_t>(dimension.value, -1));
      names.push_back(dimension.name.c_str());
    }
    const OrtApi& api = Ort::GetApi();
    OrtTensorTypeAndShapeInfo* info = nullptr;
    Ort::ThrowOnError(api.CreateTensorTypeAndShapeInfo(&info));
    const Ort::TensorTypeAndShapeInfo owned(info);
    Ort::ThrowOnError(api.SetTensorElementType(info, type));
    Ort::ThrowOnError(api.SetDimensions(info, values.data(), values.size()));
    Ort::ThrowOnError(api.SetSymbolicDimensions(info, names.data(), names.size()));
    Ort::ThrowOnError(api.ShapeInferContext_SetOutputTypeShape(context_, 0, info));
    return true;
  }

 private:
  OrtShapeInferContext* context_;
};

// A kernel whose errors are statuses. Kernel is made from an OrtKernelInfo and has
// Compute(KernelContext).
template <class Kernel>
class GuardedKernel {
 public:
  explicit GuardedKernel(const OrtKernelInfo* info) : kernel_(info) {}

  OrtStatusPtr ComputeV2(OrtKernelContext* context) const noexcept {
    return Guarded([&] { kernel_.Compute(Ort::KernelContext(context)); });
  }

 private:
  Kernel kernel_;
};

// An op of one output. Op states kName, kProvider (null: the CPU) and InferOutput(Inference).
template <class Op, class Kernel>
class OpBase : public Ort::CustomOpBase<Op, GuardedKernel<Kernel>, true> {
 public:
  OpBase(std::vector<ONNXTensorElementDataType> inputs, ONNXTensorElementDataType output)
      : inputs_(std::move(inputs)), output_(output) {
    OrtCustomOp::version = kApiVersion;
    // Not the base's own: it reads the shapes outside any guard.
    OrtCustomOp::InferOutputShapeFn = [](const OrtCustomOp* op, OrtShapeInferContext* context) {
      return Guarded([&] { static_cast<const Op*>(op)->InferOutput(Inference(context)); });
    };
  }

  OrtStatusPtr CreateKernelV2(const OrtApi&, const OrtKernelInfo* info,
                              void** kernel) const noexcept {
    return Guarded([&] { *kernel = new GuardedKernel<Kernel>(info); });
  }

  const char* GetName() const { return Op::kName; }
  const char* GetExecutionProviderType() const { return Op::kProvider; }
  size_t GetInputTypeCount() const { return inputs_.size(); }
  ONNXTensorElementDataType GetInputType(size_t index) const { return inputs_[index]; }
  size_t GetOutputTypeCount() const { return 1; }
  ONNXTensorElementDataType GetOutputType(size_t) const { return output_; }

 private:
  std::vector<ONNXTensorElementDataType> inputs_;
  ONNXTensorElementDataType output_;
};

// One input of a running node.
struct Input {
  Input(const Ort::KernelContext& context, size_t index) {
    const Ort::ConstValue value = context.GetInput(index);
    const Ort::TensorTypeAndShapeInfo info = value.GetTensorTypeAndShapeInfo();
    shape = info.GetShape();
    type = info.GetElementType() == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16 ? Element::kHalf
                                                                          : Element::kFloat;
    data = static_cast<const char*>(value.GetTensorRawData());
  }

  size_t Bytes() const { return type == Element::kHalf ? 2 : 4; }

  Shape shape;
  Element type;
  const char* data;
};

// Runs run(first, last) over [0, items) on the session's threads. A task has some 16 thousand
// elements, about ten microseconds: less would not pay for handing it over. `run` must not throw.
template <class Run>
void ParallelRanges(const Ort::KernelContext& context, size_t items, size_t elements_an_item,
                    const Run& run) {
  constexpr size_t kTaskElements = 16384;
  if (items == 0) return;
  const size_t items_a_task =
      std::max<size_t>(1, kTaskElements / std::max<size_t>(1, elements_an_item));
  const size_t tasks = (items + items_a_task - 1) / items_a_task;
  const auto task = [&](size_t index) {
    run(index * items_a_task, std::min(items, (index + 1) * items_a_task));
  };
  if (tasks == 1) return task(0);
  using Task = decltype(task);
  context.ParallelFor([](void* body, size_t index) { (*static_cast<Task*>(body))(index); }, tasks,
                      0, const_cast<void*>(static_cast<const void*>(&task)));
}

}  // namespace ddgan
