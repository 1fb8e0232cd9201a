// A small pool of worker threads that sleep when there is nothing to do. Spinning workers, as OpenMP runtimes have
// them, stall for whole scheduler slices when the machine is busy with capture, decoding and drawing. It grows to what
// the largest call wanted, never beyond the threads asked for nor the cores that the process may use.
#pragma once

#include <cstdint>
#include <functional>

namespace edgepose {

int num_threads();
void set_num_threads(int threads);  // ≥ 1

// Calls body(begin, end) over disjoint ranges that cover [0, count). `cost` is the work of one item in bytes touched;
// the ranges go to other threads only when there is enough of it to pay for waking them. An exception of the body ends
// up in the caller, after the other ranges are done.
void parallel_for(int64_t count, double cost, const std::function<void(int64_t, int64_t)>& body);

}  // namespace edgepose
