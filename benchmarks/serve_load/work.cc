#include "serve_load/work.h"

#include <algorithm>
#include <random>

namespace inferd::bench {

std::vector<Work> PlanWork(const LoadOptions& options, int32_t vocab_size) {
  std::mt19937_64 random(options.seed);
  // Low ids are often special tokens.
  const int32_t first_id = std::min(256, vocab_size / 2);
  std::uniform_int_distribution<uint32_t> token(static_cast<uint32_t>(first_id),
                                                static_cast<uint32_t>(vocab_size - 1));
  std::uniform_int_distribution<int32_t> prompt(options.prompt_tokens.low,
                                                options.prompt_tokens.high);
  std::uniform_int_distribution<int32_t> output(options.output_tokens.low,
                                                options.output_tokens.high);
  std::exponential_distribution<double> gap(options.rate > 0 ? options.rate : 1.0);
  std::vector<uint32_t> prefix(static_cast<size_t>(options.shared_prefix_tokens));
  for (uint32_t& id : prefix) id = token(random);

  std::vector<Work> work(static_cast<size_t>(options.requests));
  double due = 0;
  for (Work& item : work) {
    const int32_t length = std::max(prompt(random), options.shared_prefix_tokens + 1);
    item.prompt = prefix;
    while (item.prompt.size() < static_cast<size_t>(length)) item.prompt.push_back(token(random));
    item.max_tokens = output(random);
    item.seed = random() >> 1;
    due += gap(random);
    item.due = options.rate > 0 ? due : 0;
  }
  return work;
}

}  // namespace inferd::bench
