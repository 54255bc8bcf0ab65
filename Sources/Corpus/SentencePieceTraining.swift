import CSentencePiece
package import Foundation

/// Trains a SentencePiece model on `lines`, in the order given.
/// - Parameter arguments: the flags of spm_train without input and output.
/// - Returns: the serialised model, a function of the arguments alone.
package func trainSentencePiece(
  _ arguments: [String], lines: [String]
) throws(CorpusError) -> Data {
  let text = Array(lines.joined(separator: "\n").utf8CString)
  var message = [CChar](repeating: 0, count: 512)
  var byteCount = 0
  let model = unsafe cspm_train(
    arguments.joined(separator: " "), text, text.count - 1, &byteCount, &message, message.count)
  guard let model = unsafe model else {
    throw .tokenizer(
      cause: "SentencePiece could not train (\(string(of: message)))",
      remedy: "ask for another --vocabulary, or give it more text")
  }
  defer { unsafe cspm_release(model) }
  return unsafe Data(bytes: model, count: byteCount)
}
