import CSentencePiece

/// A SentencePiece model as its file has it: text to the model's own ids and back.
///
/// @unchecked Sendable: the model is never written after loading, and SentencePiece's encode and
/// decode are const member functions.
@safe final class SentencePieceModel: @unchecked Sendable {
  private let model: OpaquePointer
  /// Pieces of the model.
  let count: Int

  init(path: String) throws(TokenizerError) {
    let bytes = try JSONField.bytes(path: path)
    do throws(ModelRecords.Defect) {
      try ModelRecords.check(bytes)
    } catch {
      throw .malformed(
        path: path, place: "offset \(error.offset)",
        cause: "no SentencePiece model (\(error.cause))")
    }
    var message = [CChar](repeating: 0, count: 512)
    guard let model = unsafe cspm_load(path, &message, message.count) else {
      let cause = String(
        decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      throw .malformed(path: path, place: "offset 0", cause: "no SentencePiece model (\(cause))")
    }
    unsafe self.model = model
    count = Int(unsafe cspm_vocabulary_size(model))
  }

  deinit { unsafe cspm_free(model) }

  func encode(_ text: String) throws(TokenizerError) -> [Int32] {
    var text = text
    var capacity = text.utf8.count + 16
    while true {
      var needed: Int64 = 0
      let ids = text.withUTF8 { utf8 in
        unsafe [Int32](unsafeUninitializedCapacity: capacity) { ids, count in
          needed = unsafe utf8.withMemoryRebound(to: CChar.self) { bytes in
            unsafe cspm_encode(model, bytes.baseAddress, bytes.count, ids.baseAddress, capacity)
          }
          count = Int(min(max(needed, 0), Int64(capacity)))
        }
      }
      guard needed >= 0 else { throw .unencodable(cause: "SentencePiece refuses it") }
      if needed <= capacity { return ids }
      // Normalised text may be longer.
      capacity = Int(needed)
    }
  }

  /// - Parameter ids: each below `count`.
  func decode(_ ids: [Int32]) -> String {
    precondition(ids.allSatisfy { 0 <= $0 && $0 < count }, "ids of this model")
    return unsafe bytes(capacity: 16 + 8 * ids.count) { text, capacity in
      unsafe cspm_decode(model, ids, ids.count, text, capacity)
    }
  }

  func piece(_ id: Int32) -> String {
    precondition(0 <= id && id < count, "an id of this model")
    return unsafe bytes(capacity: 64) { unsafe cspm_id_to_piece(model, id, $0, $1) }
  }

  func kind(_ id: Int32) -> cspm_piece_kind {
    precondition(0 <= id && id < count, "an id of this model")
    return unsafe cspm_kind_of_piece(model, id)
  }

  /// What `write` writes, which returns the bytes needed, or -1: then nothing.
  private func bytes(
    capacity: Int, _ write: (UnsafeMutablePointer<CChar>?, Int) -> Int64
  ) -> String {
    var capacity = capacity
    while true {
      var needed: Int64 = 0
      let text = unsafe String(unsafeUninitializedCapacity: capacity) { bytes in
        unsafe bytes.withMemoryRebound(to: CChar.self) { chars in
          needed = unsafe write(chars.baseAddress, capacity)
          return Int(min(max(needed, 0), Int64(capacity)))
        }
      }
      if needed <= capacity { return text }
      capacity = Int(needed)
    }
  }
}
