#include "cspm.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

// Exported by the library without a header; the flag of the same name takes effect too late, after
// the trainer has printed its command.
namespace sentencepiece::logging {
void SetMinLogLevel(int level);
}

struct cspm {
  sentencepiece::SentencePieceProcessor processor;
};

namespace {

void report(const std::string &message, char *error, size_t capacity) {
  if (capacity == 0) return;
  const size_t n = std::min(message.size(), capacity - 1);
  std::memcpy(error, message.data(), n);
  error[n] = '\0';
}

int64_t copy_out(const std::string &value, char *text, size_t capacity) {
  std::memcpy(text, value.data(), std::min(value.size(), capacity));
  return static_cast<int64_t>(value.size());
}

/// Walks the lines of one buffer.
class Lines : public sentencepiece::SentenceIterator {
 public:
  Lines(const char *begin, size_t byte_count) : next_(begin), end_(begin + byte_count) { Next(); }

  bool done() const override { return done_; }
  const std::string &value() const override { return line_; }
  sentencepiece::util::Status status() const override { return {}; }

  void Next() override {
    done_ = next_ >= end_;
    if (done_) return;
    const char *stop = std::find(next_, end_, '\n');
    line_.assign(next_, stop);
    next_ = stop + 1;
  }

 private:
  const char *next_;
  const char *end_;
  bool done_ = false;
  std::string line_;
};

}  // namespace

// No C++ exception may cross into Swift: each entry point ends in a status.

cspm *cspm_load(const char *path, char *error, size_t error_capacity) try {
  auto *model = new cspm;
  const auto status = model->processor.Load(path);
  if (status.ok()) return model;
  report(status.ToString(), error, error_capacity);
  delete model;
  return nullptr;
} catch (const std::exception &failure) {
  report(failure.what(), error, error_capacity);
  return nullptr;
}

void cspm_free(cspm *model) { delete model; }

int32_t cspm_vocabulary_size(const cspm *model) { return model->processor.GetPieceSize(); }

int64_t cspm_encode(const cspm *model, const char *text, size_t byte_count, int32_t *ids,
                    size_t capacity) try {
  std::vector<int> found;
  if (!model->processor.Encode(absl::string_view(text, byte_count), &found).ok()) return -1;
  std::copy_n(found.begin(), std::min(found.size(), capacity), ids);
  return static_cast<int64_t>(found.size());
} catch (const std::exception &) {
  return -1;
}

int64_t cspm_decode(const cspm *model, const int32_t *ids, size_t count, char *text,
                    size_t capacity) try {
  std::string decoded;
  if (!model->processor.Decode(std::vector<int>(ids, ids + count), &decoded).ok()) return -1;
  return copy_out(decoded, text, capacity);
} catch (const std::exception &) {
  return -1;
}

int32_t cspm_piece_to_id(const cspm *model, const char *piece) {
  return model->processor.PieceToId(piece);
}

int64_t cspm_id_to_piece(const cspm *model, int32_t id, char *text, size_t capacity) {
  if (id < 0 || id >= model->processor.GetPieceSize()) return -1;
  return copy_out(model->processor.IdToPiece(id), text, capacity);
}

cspm_piece_kind cspm_kind_of_piece(const cspm *model, int32_t id) {
  if (model->processor.IsUnknown(id)) return cspm_piece_unknown;
  if (model->processor.IsControl(id)) return cspm_piece_control;
  if (model->processor.IsUnused(id)) return cspm_piece_unused;
  return cspm_piece_text;
}

char *cspm_train(const char *arguments, const char *lines, size_t byte_count, size_t *model_bytes,
                 char *error, size_t error_capacity) try {
  Lines iterator(lines, byte_count);
  std::string model;
  sentencepiece::logging::SetMinLogLevel(2);  // errors; they come back as the status as well
  const auto status = sentencepiece::SentencePieceTrainer::Train(arguments, &iterator, &model);
  if (!status.ok()) {
    report(status.ToString(), error, error_capacity);
    return nullptr;
  }
  char *copy = static_cast<char *>(std::malloc(model.size()));
  if (copy == nullptr) {
    report("out of memory", error, error_capacity);
    return nullptr;
  }
  std::memcpy(copy, model.data(), model.size());
  *model_bytes = model.size();
  return copy;
} catch (const std::exception &failure) {
  report(failure.what(), error, error_capacity);
  return nullptr;
}

void cspm_release(char *model) { std::free(model); }
