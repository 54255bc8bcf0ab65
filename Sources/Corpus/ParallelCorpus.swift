import Foundation

/// A prepared corpus, open for training: the token shards in memory, texts and tokenizer on demand.
package struct ParallelCorpus: Sendable {
  package let directory: String
  package let manifest: CorpusManifest
  package let training: TokenShard
  package let heldOut: TokenShard
  package let special: SpecialTokens

  package var vocabularySize: Int { manifest.vocabularySize }
  package var languageCount: Int { manifest.languages.count }
  package var languages: [LanguageIndex] { (0..<languageCount).map { LanguageIndex($0) } }

  package func tag(_ language: LanguageIndex) -> String {
    manifest.languages[language.rawValue].tag
  }

  /// The bytes that `open` will hold, known from the manifest alone, for the memory ledger. While a
  /// shard is read its file is in memory a second time: `peakBytes`.
  package static func memory(
    of directory: String
  ) throws(CorpusError) -> (residentBytes: Int, peakBytes: Int) {
    let manifest = try readManifest(directory)
    let shards = [CorpusFile.training, CorpusFile.heldOut].map { manifest.files[$0]?.bytes ?? 0 }
    return (shards.reduce(0, +), shards.reduce(0, +) + (shards.max() ?? 0))
  }

  /// Opens the corpus in `directory` and checks every byte of its shards.
  /// - Throws: `CorpusError.missingInput`, `.unreadable`, `.damaged`.
  package static func open(_ directory: String) throws(CorpusError) -> ParallelCorpus {
    let manifest = try readManifest(directory)
    return ParallelCorpus(
      directory: directory, manifest: manifest,
      training: try readShard(CorpusFile.training, directory, manifest),
      heldOut: try readShard(CorpusFile.heldOut, directory, manifest),
      special: SpecialTokens(languageCount: manifest.languages.count))
  }

  /// Opens the tokenizer of the corpus.
  package func tokenizer() throws(CorpusError) -> Tokenizer {
    _ = try Self.readChecked(CorpusFile.tokenizer, directory, manifest)
    let path = "\(directory)/\(CorpusFile.tokenizer)"
    let tokenizer = try Tokenizer(path: path, languageCount: languageCount)
    guard tokenizer.vocabularySize == vocabularySize else {
      throw .damaged(
        path: path, offset: 0, cause: "\(tokenizer.vocabularySize) pieces, not \(vocabularySize)")
    }
    return tokenizer
  }

  /// The bytes of the SentencePiece model of the corpus in `directory`.
  package static func tokenizerModel(_ directory: String) throws(CorpusError) -> [UInt8] {
    Array(try readChecked(CorpusFile.tokenizer, directory, try readManifest(directory)))
  }

  /// The raw text of the held-out segments, `[segment][language]`; empty where there is none.
  package func heldOutText() throws(CorpusError) -> [[String]] {
    let data = try Self.readChecked(CorpusFile.heldOutText, directory, manifest)
    let rows = String(decoding: data, as: UTF8.self).split(separator: "\n").dropFirst()
    let table = rows.map { row in
      row.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
    }
    guard table.count == heldOut.segmentCount, table.allSatisfy({ $0.count == languageCount })
    else {
      throw .damaged(
        path: "\(directory)/\(CorpusFile.heldOutText)", offset: 0,
        cause: "rows or cells are missing")
    }
    return table
  }
}

extension ParallelCorpus {
  package static func readManifest(_ directory: String) throws(CorpusError) -> CorpusManifest {
    let path = "\(directory)/\(CorpusFile.manifest)"
    guard FileManager.default.fileExists(atPath: path) else {
      throw .unreadable(
        path: path, cause: "there is no corpus here; make one with pagoda corpus prepare")
    }
    let data = try DirectoryWalk.read(path)
    do {
      let manifest = try JSONDecoder().decode(CorpusManifest.self, from: data)
      guard manifest.formatVersion == CorpusManifest.currentVersion else {
        throw CocoaError(.fileReadCorruptFile)
      }
      guard manifest.isPossible else {
        throw CorpusError.damaged(path: path, offset: 0, cause: "it has numbers that cannot be")
      }
      return manifest
    } catch let error as CorpusError {
      throw error
    } catch {
      throw .damaged(path: path, offset: 0, cause: "not the manifest of a corpus of version 1")
    }
  }

  private static func readShard(
    _ name: String, _ directory: String, _ manifest: CorpusManifest
  ) throws(CorpusError) -> TokenShard {
    let path = "\(directory)/\(name)"
    let data = try readChecked(name, directory, manifest)
    let shard = try TokenShard(
      decoding: data, path: path, vocabularySize: manifest.vocabularySize)
    guard shard.languageCount == manifest.languages.count else {
      throw .damaged(
        path: path, offset: 12, cause: "\(shard.languageCount) languages, not those of the manifest"
      )
    }
    return shard
  }

  /// The bytes of a file, which are those that the manifest speaks of.
  private static func readChecked(
    _ name: String, _ directory: String, _ manifest: CorpusManifest
  ) throws(CorpusError) -> Data {
    let path = "\(directory)/\(name)"
    let data = try DirectoryWalk.read(path)
    guard let file = manifest.files[name] else {
      throw .damaged(
        path: "\(directory)/\(CorpusFile.manifest)", offset: 0, cause: "no entry for \(name)")
    }
    guard data.count == file.bytes else {
      throw .damaged(
        path: path, offset: min(data.count, file.bytes),
        cause: "\(data.count) bytes where \(file.bytes) are due")
    }
    guard CorpusManifest.File(data) == file else {
      throw .damaged(
        path: path, offset: 0, cause: "the checksum of its \(data.count) bytes is wrong")
    }
    return data
  }
}
