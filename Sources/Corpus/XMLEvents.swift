internal import CLibXML2
import Foundation

/// Reads an XML document from start to end, with libxml2: Foundation's parser, which stands on it,
/// does not survive some documents. Loads nothing but the document. Owner of the reader.
@safe struct XMLEvents: ~Copyable {
  enum Event {
    /// The name as written, with its prefix.
    case start(String)
    case end(String)
    case text(String)
  }

  /// The document, of which the reader takes no copy.
  private let bytes: UnsafeMutableBufferPointer<CChar>
  private let reader: xmlTextReaderPtr
  /// Of an element without content, whose end is no event of the reader's.
  private var pendingEnd: String?
  /// Whether all that was read until now is well-formed.
  private(set) var isWellFormed = true

  /// - Returns: nil for a document that is empty or too large.
  init?(_ document: Data) {
    guard !document.isEmpty, let count = Int32(exactly: document.count) else { return nil }
    let bytes = UnsafeMutableBufferPointer<CChar>.allocate(capacity: document.count)
    unsafe _ = document.copyBytes(to: UnsafeMutableRawBufferPointer(bytes))
    // Errors are not printed, and no entity is replaced by what it stands for elsewhere.
    let options = [XML_PARSE_NONET, XML_PARSE_NOERROR, XML_PARSE_NOWARNING].reduce(0) {
      $0 | Int32($1.rawValue)
    }
    guard let reader = unsafe xmlReaderForMemory(bytes.baseAddress, count, nil, nil, options) else {
      unsafe bytes.deallocate()
      return nil
    }
    unsafe self.bytes = unsafe bytes
    unsafe self.reader = unsafe reader
  }

  deinit {
    unsafe xmlFreeTextReader(reader)
    unsafe bytes.deallocate()
  }

  /// The next event; nil at the end, and where the document is not well-formed or has a reference to
  /// an entity of its own.
  mutating func next() -> Event? {
    if let name = pendingEnd {
      pendingEnd = nil
      return .end(name)
    }
    while isWellFormed {
      let code = unsafe xmlTextReaderRead(reader)
      guard code == 1 else {
        isWellFormed = code == 0
        return nil
      }
      if let event = event() { return event }
    }
    return nil
  }

  /// What the reader is at; nil for what is no event.
  private mutating func event() -> Event? {
    let kind = unsafe xmlTextReaderNodeType(reader)
    switch UInt32(bitPattern: kind) {
    case XML_READER_TYPE_ELEMENT.rawValue:
      let name = unsafe text(xmlTextReaderConstName(reader))
      if unsafe xmlTextReaderIsEmptyElement(reader) == 1 { pendingEnd = name }
      return .start(name)
    case XML_READER_TYPE_END_ELEMENT.rawValue:
      return .end(unsafe text(xmlTextReaderConstName(reader)))
    case XML_READER_TYPE_TEXT.rawValue, XML_READER_TYPE_WHITESPACE.rawValue,
      XML_READER_TYPE_SIGNIFICANT_WHITESPACE.rawValue:
      return .text(unsafe text(xmlTextReaderConstValue(reader)))
    case XML_READER_TYPE_ENTITY_REFERENCE.rawValue:
      isWellFormed = false
      return nil
    default: return nil
    }
  }

  private func text(_ bytes: UnsafePointer<xmlChar>?) -> String {
    unsafe bytes.map { unsafe String(cString: $0) } ?? ""
  }
}
