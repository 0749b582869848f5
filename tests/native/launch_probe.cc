// Launches compiled kernels as standard input says, and tells what happens: one JSON object a line.
//
//   run VARIANT STREAM SIZES TENSORS   such as "run AdaGN/nchw/float16 7 batch=2,pixels=4
//   x=4096,y=8192" parallel COUNT VARIANT ...         the same on COUNT threads at once repeat
//   BYTES ROWS STREAM           repeats BYTES bytes, which count from 1, in host memory
//
// Its argument is the folder of compiled kernels. Scratch memory is made of distinct numbers, no
// memory, and off by PROBE_MISALIGNED bytes. The exit status is 0 whatever a line says.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <thread>

#include "cuda_launcher.h"

namespace {

using ddgan::CudaLauncher;

std::vector<std::pair<std::string, int64_t>> Pairs(const std::string& text) {
  std::vector<std::pair<std::string, int64_t>> pairs;
  std::istringstream words(text);
  for (std::string word; std::getline(words, word, ',');) {
    const size_t equals = word.find('=');
    pairs.emplace_back(word.substr(0, equals), std::stoll(word.substr(equals + 1)));
  }
  return pairs;
}

const void* Pointer(int64_t address) { return reinterpret_cast<const void*>(address); }

ddgan::cuda::Stream Stream(std::istream& words) {
  int64_t stream;
  words >> stream;
  return reinterpret_cast<ddgan::cuda::Stream>(stream);
}

const void* Allocate(size_t bytes) {
  static std::atomic<int64_t> next = 0x500000000000;
  const char* off = std::getenv("PROBE_MISALIGNED");
  const int64_t address = next.fetch_add(4096) + (off ? std::atoi(off) : 0);
  std::printf("{\"call\": \"allocate\", \"bytes\": %zu, \"pointer\": %ld}\n", bytes,
              static_cast<long>(address));
  std::fflush(stdout);
  return Pointer(address);
}

void Run(const CudaLauncher& launcher, std::istream& words) {
  std::string variant, size_words, tensor_words;
  words >> variant;
  for (char& c : variant) c = c == '/' ? ' ' : c;
  const auto stream = Stream(words);
  words >> size_words >> tensor_words;
  const auto size_pairs = Pairs(size_words), tensor_pairs = Pairs(tensor_words);
  ddgan::Sizes sizes{};
  for (const auto& [name, value] : size_pairs) sizes.Add(name, value);
  CudaLauncher::Tensors tensors;
  for (const auto& [name, address] : tensor_pairs) tensors.emplace_back(name, Pointer(address));
  launcher.Run(variant, sizes, tensors, stream, Allocate);
}

void Repeat(std::istream& words) {
  size_t bytes, rows;
  words >> bytes >> rows;
  const auto stream = Stream(words);
  std::string row(bytes, '\0'), all(bytes * rows, '?');
  for (size_t i = 0; i < bytes; ++i) row[i] = static_cast<char>(i + 1);
  CudaLauncher::Repeat(row.data(), bytes, rows, stream, [&](size_t wanted) {
    if (wanted != all.size()) throw std::logic_error("a wrong size was asked for");
    return all.data();
  });
  std::string hex;
  for (const char c : all) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned char>(c));
    hex += digits;
  }
  std::printf("{\"call\": \"repeated\", \"hex\": \"%s\"}\n", hex.c_str());
}

void Guarded(const std::function<void()>& action) {
  try {
    action();
  } catch (const std::exception& error) {
    std::string text;
    for (const char* c = error.what(); *c; ++c)
      text += (*c == '"' || *c == '\\' ? "\\" : "") + std::string(1, *c);
    std::printf("{\"error\": \"%s\"}\n", text.c_str());
  }
  std::fflush(stdout);
}

}  // namespace

int main(int, char** arguments) {
  const CudaLauncher launcher(arguments[1]);
  for (std::string line; std::getline(std::cin, line);) {
    Guarded([&] {
      std::istringstream words(line);
      std::string command;
      words >> command;
      if (command == "repeat") return Repeat(words);
      int count = 1;
      if (command == "parallel") words >> count;
      std::string rest;
      std::getline(words, rest);
      std::vector<std::thread> threads;
      for (int i = 1; i < count; ++i) {
        threads.emplace_back([&launcher, rest] {
          std::istringstream copy(rest);
          Guarded([&] { Run(launcher, copy); });
        });
      }
      std::istringstream copy(rest);
      Guarded([&] { Run(launcher, copy); });
      for (std::thread& thread : threads) thread.join();
    });
  }
  return 0;
}
