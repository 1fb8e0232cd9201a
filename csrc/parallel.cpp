#include "parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif
#if !defined(_WIN32)
#include <unistd.h>
#endif

namespace edgepose {
namespace {

// Waking a sleeping thread costs some 10–50 µs, in which one core moves about this much.
constexpr double kBytesPerThread = 2 << 20;

int available_cores() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

int process_id() {
#if defined(_WIN32)
  return 0;  // does not fork
#else
  return getpid();
#endif
}

int initial_threads() {
  const char* wanted = std::getenv("EDGEPOSE_NUM_THREADS");
  const int threads = wanted ? std::atoi(wanted) : 0;
  return threads > 0 ? threads : available_cores();
}

std::atomic<int>& thread_setting() {
  static std::atomic<int> threads{initial_threads()};
  return threads;
}

class Pool {
 public:
  // As many workers as that, if they are not there yet. Where threads are limited, those that could be made must do,
  // and they are not asked for again: a try costs more than most calls.
  void grow(int workers) {
    if (workers <= asked_) return;
    asked_ = workers;
    try {
      while (static_cast<int>(threads_.size()) < workers) threads_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      // Go on with those that there are, if need be with the caller alone.
    }
  }

  // Runs task(0) … task(tasks − 1) on the calling thread and at most so many workers, and returns when all are done.
  // What a task throws is thrown here, once, in the calling thread.
  void run(int tasks, int workers, const std::function<void(int)>& task) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      task_ = &task;
      next_ = 0;
      tasks_ = tasks;
      running_ = 0;
      places_ = workers;
    }
    for (int i = 0; i < workers; ++i) wake_.notify_one();
    take_tasks();
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return next_ >= tasks_ && running_ == 0; });
    task_ = nullptr;
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

 private:
  void work() {
    for (;;) {
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [this] { return task_ && next_ < tasks_ && places_ > 0; });
        --places_;
      }
      take_tasks();
    }
  }

  void take_tasks() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (task_ && next_ < tasks_) {
      const int index = next_++;
      ++running_;
      const auto* task = task_;
      lock.unlock();
      std::exception_ptr failure;
      try {
        (*task)(index);
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      if (failure) failure_ = failure;
      if (--running_ == 0 && next_ >= tasks_) done_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  const std::function<void(int)>* task_ = nullptr;
  int next_ = 0, tasks_ = 0, running_ = 0;
  int places_ = 0;  // for workers, in what runs now: a pool may be larger than a call wants
  int asked_ = 0;
  std::exception_ptr failure_;
  std::vector<std::thread> threads_;
};

// The pool of this process, never destroyed: workers sleep until the process ends. A forked child (a data loader's
// worker) inherits the memory but not the threads, so it makes its own. Only one caller at a time uses it; others run
// alone.
std::mutex pool_mutex;

Pool& pool_of(int workers) {
  static Pool* pool = nullptr;
  static int owner = 0;
  if (!pool || owner != process_id()) {
    pool = new Pool;  // an inherited one is left alone: its threads are not there
    owner = process_id();
  }
  pool->grow(workers);
  return *pool;
}

}  // namespace

int num_threads() { return thread_setting(); }
void set_num_threads(int threads) { thread_setting() = std::max(1, threads); }

void parallel_for(int64_t count, double cost, const std::function<void(int64_t, int64_t)>& body) {
  const double useful = std::max(1.0, static_cast<double>(count) * cost / kBytesPerThread);
  static const int cores = available_cores();  // more threads would wait for each other
  const int threads = std::min(num_threads(), cores);
  const int parts = static_cast<int>(std::min({useful, static_cast<double>(threads), static_cast<double>(count)}));
  std::unique_lock<std::mutex> lock(pool_mutex, std::defer_lock);
  if (parts <= 1 || !lock.try_lock()) return body(0, count);
  // More ranges than threads: where one thread is delayed, the others take what is left.
  const int64_t ranges = std::min<int64_t>(count, parts * 4);
  const auto range = [&](int i) { body(count * i / ranges, count * (i + 1) / ranges); };
  pool_of(parts - 1).run(static_cast<int>(ranges), parts - 1, range);
}

}  // namespace edgepose
