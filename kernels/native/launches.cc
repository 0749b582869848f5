#include "launches.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <limits>
#include <stdexcept>

namespace ddgan {
namespace {

constexpr int64_t kMost = std::numeric_limits<int64_t>::max();

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t end; (end = text.find(separator)) != std::string_view::npos;
       text.remove_prefix(end + 1)) {
    parts.push_back(text.substr(0, end));
  }
  parts.push_back(text);
  return parts;
}

int64_t Number(std::string_view word, int64_t least, int64_t most = kMost) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size() || value < least || value > most) {
    throw std::invalid_argument("'" + std::string(word) + "' is not a number from " +
                                std::to_string(least) + " to " + std::to_string(most));
  }
  return value;
}

std::string Name(std::string_view word) {
  const auto wrong = [](char c) {
    return !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_';
  };
  if (word.empty() || (word[0] >= '0' && word[0] <= '9') ||
      std::any_of(word.begin(), word.end(), wrong)) {
    throw std::invalid_argument("'" + std::string(word) + "' is not a name");
  }
  return std::string(word);
}

int64_t Product(int64_t a, int64_t b) {
  int64_t product;
  if (__builtin_mul_overflow(a, b, &product))
    throw std::overflow_error("a product of sizes exceeds 2^63 - 1");
  return product;
}

// Reads launches.txt line by line; every method takes one line's words.
class Parser {
 public:
  using Words = std::vector<std::string_view>;
  using Variants = std::map<std::string, std::map<int, std::vector<Plan>>>;

  void Line(const Words& words) {
    if (!started_) {
      if (words != Words{"ddgan-launches", "1"})
        throw std::invalid_argument("the first line is not 'ddgan-launches 1'");
      started_ = true;
    } else if (words[0] == "plan") {
      Need(plan_ == nullptr && words.size() == 6);
      const std::string variant =
          std::string(words[1]) + " " + std::string(words[2]) + " " + std::string(words[3]);
      plan_ = &variants_[variant][static_cast<int>(Number(words[4], 10, 9999))].emplace_back();
      plan_->alignment = Number(words[5], 0, 4096);
      // Addresses are or-ed, which keeps their remainders by powers of two alone.
      if (plan_->alignment & (plan_->alignment - 1))
        throw std::invalid_argument("the alignment is not a power of two");
    } else {
      Need(plan_ != nullptr);
      InPlan(words, plan_);
    }
  }

  Variants Finish() {
    if (!started_) throw std::invalid_argument("the file is empty");
    if (plan_ != nullptr) throw std::invalid_argument("the last plan has no end");
    return std::move(variants_);
  }

 private:
  void InPlan(const Words& words, Plan* plan) {
    const std::string_view kind = words[0];
    const bool whole = plan->launches.empty() || !plan->launches.back().arguments.empty();
    if (kind == "grid") {
      Need(words.size() == 4 && !whole && plan->launches.back().grid.empty());
      plan->launches.back().grid = Extents(words, 1);
    } else if (kind == "arguments") {
      Need(words.size() > 1 && !whole && !plan->launches.back().grid.empty());
      for (size_t i = 1; i < words.size(); ++i)
        plan->launches.back().arguments.push_back(OneArgument(words[i]));
    } else if (kind == "launch") {
      Need(words.size() == 5 && whole);
      plan->launches.push_back({File(words[1]),
                                Name(words[2]),
                                Unsigned(words[3], 1, 1024),
                                Unsigned(words[4], 0, 1 << 20),
                                {},
                                {}});
    } else if (kind == "end") {
      Need(words.size() == 1 && whole && !plan->launches.empty());
      plan_ = nullptr;
    } else {
      // What a plan needs comes before its launches.
      Need(plan->launches.empty());
      if (kind == "fits") {
        Need(words.size() == 4);
        const int64_t least = Number(words[2], 0);
        plan->fits.push_back({Name(words[1]), least, Number(words[3], least)});
      } else if (kind == "multiple") {
        Need(words.size() == 2 && plan->alignment > 0);
        plan->multiples.push_back(Name(words[1]));
      } else if (kind == "derived") {
        Need(words.size() == 3);
        plan->derived.emplace_back(Name(words[1]), Extent(words[2]));
      } else if (kind == "temporary") {
        Need(words.size() > 2);
        plan->temporaries.emplace_back(Name(words[1]), Extents(words, 2));
      } else {
        throw std::invalid_argument("'" + std::string(kind) + "' is no kind of line");
      }
    }
  }

  static void Need(bool right) {
    if (!right) throw std::invalid_argument("the line is not complete, or not at its place");
  }

  static unsigned Unsigned(std::string_view word, int64_t least, int64_t most) {
    return static_cast<unsigned>(Number(word, least, most));
  }

  static std::string File(std::string_view word) {
    if (word.empty() || word.find('/') != std::string_view::npos) {
      throw std::invalid_argument("'" + std::string(word) +
                                  "' is not the name of a file in this folder");
    }
    return std::string(word);
  }

  static std::vector<Extent> Extents(const Words& words, size_t first) {
    return std::vector<Extent>(words.begin() + static_cast<std::ptrdiff_t>(first), words.end());
  }

  static Argument OneArgument(std::string_view word) {
    const auto parts = Split(word, ':');
    if (parts.size() != 2 || (parts[1] != "pointer" && parts[1] != "int32")) {
      throw std::invalid_argument("'" + std::string(word) + "' is not NAME:pointer or NAME:int32");
    }
    return {Name(parts[0]), parts[1] == "pointer"};
  }

  Variants variants_;
  Plan* plan_ = nullptr;  // the one that is read
  bool started_ = false;
};

}  // namespace

int64_t Sizes::operator[](std::string_view name) const {
  for (const auto& [key, value] : sizes_) {
    if (key == name) return value;
  }
  throw std::out_of_range("CUDA: launches.txt names the size '" + std::string(name) +
                          "', which the op does not state");
}

std::string Sizes::Text() const {
  std::string text;
  for (const auto& [name, value] : sizes_) {
    text += (text.empty() ? "" : ", ") + std::string(name) + " " + std::to_string(value);
  }
  return text;
}

Extent::Extent(std::string_view word) {
  // Within a ceil() the factors are joined by * too.
  while (!word.empty()) {
    const size_t end =
        word.starts_with("ceil(") ? word.find(')') + 1 : std::min(word.find('*'), word.size());
    if (end == 0 || (end < word.size() && (word[end] != '*' || end + 1 == word.size()))) {
      throw std::invalid_argument("'" + std::string(word) + "' is not an extent");
    }
    factors_.push_back(ParseFactor(word.substr(0, end)));
    word.remove_prefix(std::min(end + 1, word.size()));
  }
  if (factors_.empty()) throw std::invalid_argument("an extent is empty");
}

Extent::Factor Extent::ParseFactor(std::string_view word) {
  Factor factor;
  if (word.starts_with("ceil(")) {
    const auto parts = Split(word.substr(5, word.size() - 6), '/');
    if (parts.size() != 2)
      throw std::invalid_argument("'" + std::string(word) + "' is not ceil(A*B/K)");
    for (const std::string_view size : Split(parts[0], '*')) factor.sizes.push_back(Name(size));
    factor.divisor = Number(parts[1], 1);
  } else if (!word.empty() && word[0] >= '0' && word[0] <= '9') {
    factor.number = Number(word, 0);
  } else {
    factor.sizes.push_back(Name(word));
  }
  return factor;
}

int64_t Extent::Evaluate(const Sizes& sizes) const {
  int64_t product = 1;
  for (const Factor& factor : factors_) {
    int64_t dividend = 1;
    for (const std::string& size : factor.sizes) dividend = Product(dividend, sizes[size]);
    const int64_t quotient = dividend / factor.divisor + (dividend % factor.divisor > 0 ? 1 : 0);
    product = Product(product, Product(quotient, factor.number));
  }
  return product;
}

bool Plan::Serves(const Sizes& sizes, uint64_t addresses) const {
  const auto fit = [&](const Fit& each) {
    const int64_t size = sizes[each.size];
    return each.least <= size && size <= each.most;
  };
  const auto whole = [&](const std::string& size) { return sizes[size] % alignment == 0; };
  return std::all_of(fits.begin(), fits.end(), fit) &&
         (alignment == 0 || (addresses % static_cast<uint64_t>(alignment) == 0 &&
                             std::all_of(multiples.begin(), multiples.end(), whole)));
}

Launches::Launches(std::filesystem::path folder) : folder_(std::move(folder)) {
  const std::string path = (folder_ / "launches.txt").string();
  std::ifstream file(path);
  if (!file) {
    throw std::runtime_error(
        "CUDA: no compiled kernels, " + path +
        " cannot be read: make a folder of them with "
        "python -m ddgan_deploy.kernels.aot --out DIR, and name it in the session config entry "
        "ddgan.cuda_kernels or the environment variable DDGAN_CUDA_KERNELS");
  }
  size_t number = 0;
  try {
    Parser parser;
    for (std::string line; std::getline(file, line);) {
      ++number;
      parser.Line(Split(line, ' '));
    }
    variants_ = parser.Finish();
  } catch (const std::invalid_argument& error) {
    throw std::runtime_error(
        path + ":" + std::to_string(number) + ": " + error.what() +
        "; was the folder made by this version's python -m ddgan_deploy.kernels.aot?");
  }
}

const Launches::Plans& Launches::ForDevice(const std::string& variant, int device_arch) const {
  static const std::map<int, Plans> kNone;
  const auto found = variants_.find(variant);
  const std::map<int, Plans>& compiled = found == variants_.end() ? kNone : found->second;
  // Code for one minor version runs on the later ones of its major. From 9.0 on the compiler
  // targets the exact device (sm_90a), and its code runs on no other.
  const auto after = compiled.upper_bound(device_arch);
  if (after != compiled.begin()) {
    const auto& [arch, plans] = *std::prev(after);
    if (arch == device_arch || (arch / 10 == device_arch / 10 && arch < 90)) return plans;
  }
  std::string archs;
  for (const auto& [arch, plans] : compiled)
    archs += (archs.empty() ? "" : ", ") + std::to_string(arch);
  throw std::invalid_argument(
      variant + ": no compiled kernels for this device, whose architecture is " +
      std::to_string(device_arch) + "; " + folder_.string() + " has " +
      (archs.empty() ? "none" : "those for " + archs) + ": add --arch " +
      std::to_string(device_arch) + " to python -m ddgan_deploy.kernels.aot");
}

const Plan& Launches::Choose(const std::string& variant, int device_arch, const Sizes& sizes,
                             uint64_t addresses) const {
  for (const Plan& plan : ForDevice(variant, device_arch)) {
    if (plan.Serves(sizes, addresses)) return plan;
  }
  throw std::invalid_argument(variant + ": no compiled kernel serves " + sizes.Text());
}

}  // namespace ddgan
