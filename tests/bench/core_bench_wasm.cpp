// The core's work as a WASM module that is never shipped: the host has the clock. Driven by ion.ts
// and core-bench.ts.
#include "core_memory.hpp"
#include "core_work.hpp"
#include "sidekick/ion/reader.hpp"

#define BENCH_EXPORT(name) extern "C" __attribute__((export_name(#name), used))

using namespace sidekick;

namespace {

// Created on first use and never destroyed: a module has no shutdown.
core_work::Work& work(u32 index) {
  static core_work::Work* works[core_work::work_count] = {};
  if (works[index] == nullptr) works[index] = core_work::make_work(index).release();
  return *works[index];
}

void run_rounds(core_work::Work& it, u32 times) {
  for (u32 i = 0; i < times; ++i) {
    for (u32 phase = 0; phase < it.phases.size(); ++phase) it.run(phase, i % it.batch);
  }
}

}  // namespace

BENCH_EXPORT(sidekick_buffer) char* sidekick_buffer(u32 size) { return new char[size]; }

/// 0 if the text was accepted every time.
BENCH_EXPORT(bench_ion) u32 bench_ion(const char* text, u32 size, u32 times) {
  u32 refused = 0;
  for (u32 i = 0; i < times; ++i) refused += ion::validate(Bytes(text, size), 256).ok() ? 0 : 1;
  return refused;
}

/// Handles `times` `send` frames, each with the answer that ends it.
BENCH_EXPORT(bench_send) void bench_send(u32 times) { run_rounds(work(0), times); }
BENCH_EXPORT(bench_publish) void bench_publish(u32 times) { run_rounds(work(1), times); }

BENCH_EXPORT(bench_work_count) u32 bench_work_count() { return core_work::work_count; }
BENCH_EXPORT(bench_batch) u32 bench_batch(u32 index) { return work(index).batch; }
BENCH_EXPORT(bench_phase_count) u32 bench_phase_count(u32 index) {
  return static_cast<u32>(work(index).phases.size());
}
BENCH_EXPORT(bench_phase_name) const char* bench_phase_name(u32 index, u32 phase) {
  return work(index).phases[phase].c_str();
}

/// One batch of the phase; phases must be run in turn.
BENCH_EXPORT(bench_phase) void bench_phase(u32 index, u32 phase) {
  core_work::Work& it = work(index);
  for (u32 i = 0; i < it.batch; ++i) it.run(phase, i);
}

/// Once per instance, whose memory shows what it takes.
BENCH_EXPORT(bench_fill) void bench_fill(u32 kind, u32 bytes, u32 says_hello, u32 times) {
  auto* fill = new core_memory::Fill(core_memory::Kind{kind}, bytes, says_hello != 0);
  for (u32 i = 0; i < times; ++i) fill->fill();
}
