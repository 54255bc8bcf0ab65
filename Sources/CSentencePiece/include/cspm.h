#pragma once
// SentencePiece behind plain C: its C++ classes cannot be imported into Swift (non-copyable,
// virtual).
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cspm cspm;

/// Loads a model from a file; NULL and a message in `error` on failure.
cspm *cspm_load(const char *path, char *error, size_t error_capacity);
void cspm_free(cspm *model);

int32_t cspm_vocabulary_size(const cspm *model);

/// The ids of `byte_count` bytes of UTF-8, at most `capacity` of them in `ids`.
/// Returns the count needed, or -1.
int64_t cspm_encode(const cspm *model, const char *text, size_t byte_count, int32_t *ids,
                    size_t capacity);

/// The UTF-8 text of `count` ids, at most `capacity` bytes of it in `text`.
/// Returns the bytes needed, or -1.
int64_t cspm_decode(const cspm *model, const int32_t *ids, size_t count, char *text,
                    size_t capacity);

/// The id of a piece, or that of the unknown piece.
int32_t cspm_piece_to_id(const cspm *model, const char *piece);

/// The bytes of a piece, at most `capacity` of them in `text`. Returns the bytes needed, or -1.
int64_t cspm_id_to_piece(const cspm *model, int32_t id, char *text, size_t capacity);

/// What a piece is for.
enum cspm_piece_kind {
  cspm_piece_text,
  cspm_piece_unknown,
  /// Such as the end of a text: never found in text, and decodes to nothing.
  cspm_piece_control,
  cspm_piece_unused,
};

/// The kind of the piece `id`, which must be one of the vocabulary.
enum cspm_piece_kind cspm_kind_of_piece(const cspm *model, int32_t id);

/// Trains a model on lines of text separated by '\n'. `arguments` are the flags of spm_train
/// without input and output. Returns the serialised model, to be released with cspm_release, or
/// NULL and a message in `error`.
char *cspm_train(const char *arguments, const char *lines, size_t byte_count, size_t *model_bytes,
                 char *error, size_t error_capacity);
void cspm_release(char *model);

#ifdef __cplusplus
}
#endif
