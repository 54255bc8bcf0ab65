/// Runs the pickle of a checkpoint as far as `torch.save` of a dictionary of tensors needs it:
/// protocols 2 to 5, about thirty opcodes, the names of `PickleGlobal`. Nothing is ever called; what
/// else is there is an error. No input traps, and memory is in proportion to the input, since
/// containers are numbers of places in tables: sharing copies nothing and nothing nests.
struct PickleMachine {
  /// What the stack and the memo hold.
  private enum Value {
    case none
    case bool(Bool)
    case integer(Int)
    case string(String)
    case global(PickleGlobal)
    /// Of `tuples`, `dictionaries`, `storages` and `tensors`.
    case tuple(Int)
    case dictionary(Int)
    case storage(Int)
    case tensor(Int)

    var text: String {
      switch self {
      case .none: "None"
      case .bool: "a bool"
      case .integer: "a number"
      case .string: "a string"
      case .global: "a name"
      case .tuple: "a tuple"
      case .dictionary: "a dictionary"
      case .storage: "a storage"
      case .tensor: "a tensor"
      }
    }
  }
  private struct Dictionary {
    var members: [(key: String, value: Value)] = []
    var keys: Set<String> = []
  }

  /// The tensors of the dictionary that the pickle is, in its order.
  private(set) var tensors: [PyTorchTensor] = []
  private(set) var storages: [String: PyTorchStorage] = [:]

  private var source: PickleSource
  private var stack: [Value] = []
  /// Heights of the stack.
  private var marks: [Int] = []
  private var memo: [Int: Value] = [:]
  private var tuples: [[Value]] = []
  private var dictionaries: [Dictionary] = []
  private var storageKeys: [String] = []
  /// Without names.
  private var views: [PyTorchTensor] = []

  private static let dimensionsMax = 64
  /// Of every table: twelve for each of 300 000 tensors.
  private static let entriesMax = 1 << 22
  private static let remedy =
    "save the state_dict of the model alone: `torch.save(model.state_dict(), PATH)`"

  /// Runs `bytes` to the end.
  init(_ bytes: [UInt8]) throws(FormatDefect) {
    source = PickleSource(bytes)
    while try step() {}
    guard source.isAtEnd else { throw defect("bytes behind the end of a pickle") }
    guard stack.count == 1, marks.isEmpty, case .dictionary(let number) = stack[0] else {
      throw FormatDefect(
        offset: source.opcodeOffset, cause: "a pickle of something else than one dictionary",
        remedy: Self.remedy)
    }
    for (name, value) in dictionaries[number].members {
      guard case .tensor(let view) = value else {
        throw FormatDefect(
          offset: source.opcodeOffset, cause: "`\(printable(name))` is \(value.text), not a tensor",
          remedy: Self.remedy)
      }
      tensors.append(views[view].named(name))
    }
  }
}

// MARK: Opcodes

extension PickleMachine {
  /// Runs one opcode.
  /// - Returns: false after the last one.
  private mutating func step() throws(FormatDefect) -> Bool {
    let opcode = try source.opcode()
    switch opcode {
    case UInt8(ascii: "."): return false
    case 0x80: try readProtocol()
    case 0x95: _ = try source.natural(8)
    case UInt8(ascii: "("): try mark()
    case UInt8(ascii: "N"): try push(.none)
    case 0x88: try push(.bool(true))
    case 0x89: try push(.bool(false))
    case UInt8(ascii: "K"): try push(.integer(try source.natural(1)))
    case UInt8(ascii: "M"): try push(.integer(try source.natural(2)))
    case UInt8(ascii: "J"):
      try push(.integer(Int(Int32(truncatingIfNeeded: try source.natural(4)))))
    case 0x8A: try push(.integer(try source.longInteger()))
    case 0x8C: try push(.string(try source.string(try source.natural(1))))
    case UInt8(ascii: "X"): try push(.string(try source.string(try source.natural(4))))
    case 0x8D: try push(.string(try source.string(try source.natural(8))))
    case UInt8(ascii: "c"): try pushGlobal(try source.line(), try source.line())
    case 0x93: try pushStackGlobal()
    case UInt8(ascii: "q"): try keep(try source.natural(1))
    case UInt8(ascii: "r"): try keep(try source.natural(4))
    case 0x94: try keep(memo.count)
    case UInt8(ascii: "h"): try recall(try source.natural(1))
    case UInt8(ascii: "j"): try recall(try source.natural(4))
    case UInt8(ascii: ")"): try pushTuple([])
    case 0x85...0x87: try pushTuple(try pop(Int(opcode) - 0x84))
    case UInt8(ascii: "t"): try pushTuple(try popMarked())
    case UInt8(ascii: "}"): try pushDictionary()
    case UInt8(ascii: "s"): try setItems(try pop(2))
    case UInt8(ascii: "u"): try setItems(try popMarked())
    case UInt8(ascii: "Q"): try loadStorage(try pop())
    case UInt8(ascii: "R"): try reduce()
    case UInt8(ascii: "b"): try build()
    default: throw source.forbidden(opcode, remedy: Self.remedy)
    }
    return true
  }

  private mutating func readProtocol() throws(FormatDefect) {
    let version = try source.natural(1)
    guard (2...5).contains(version) else { throw defect("a pickle of protocol \(version)") }
  }

  private mutating func pushTuple(_ values: [Value]) throws(FormatDefect) {
    try push(.tuple(tuples.count))
    try limit(tuples.count)
    tuples.append(values)
  }

  private mutating func pushDictionary() throws(FormatDefect) {
    try push(.dictionary(dictionaries.count))
    try limit(dictionaries.count)
    dictionaries.append(Dictionary())
  }

  private mutating func pushGlobal(_ module: String, _ name: String) throws(FormatDefect) {
    guard let global = PickleGlobal(module: module, name: name) else {
      throw FormatDefect(
        offset: source.opcodeOffset,
        cause: "a pickle that names `\(printable("\(module).\(name)"))`, which tensors do not need",
        remedy: "do not load it with anything that unpickles; " + Self.remedy)
    }
    try push(.global(global))
  }

  private mutating func pushStackGlobal() throws(FormatDefect) {
    let names = try pop(2)
    guard case .string(let module) = names[0], case .string(let name) = names[1] else {
      throw defect("a name that is no string")
    }
    try pushGlobal(module, name)
  }

  private mutating func keep(_ number: Int) throws(FormatDefect) {
    let value = try top()
    try limit(memo.count)
    memo[number] = value
  }

  private mutating func recall(_ number: Int) throws(FormatDefect) {
    guard let value = memo[number] else { throw defect("nothing is kept as \(number)") }
    try push(value)
  }

  private mutating func setItems(_ values: [Value]) throws(FormatDefect) {
    guard case .dictionary(let number) = try top() else {
      throw defect("items of \(try top().text)")
    }
    guard values.count.isMultiple(of: 2) else { throw defect("a key without a value") }
    for index in stride(from: 0, to: values.count, by: 2) {
      guard case .string(let key) = values[index] else {
        throw defect("a key that is \(values[index].text)")
      }
      guard dictionaries[number].keys.insert(key).inserted else {
        throw defect("`\(printable(key))` is there twice")
      }
      dictionaries[number].members.append((key, values[index + 1]))
    }
  }

  /// Gives a dictionary attributes, such as `_metadata`, which no tensor needs.
  private mutating func build() throws(FormatDefect) {
    guard case .dictionary = try pop(), case .dictionary = try top() else {
      throw defect("attributes of something else than a dictionary")
    }
  }
}

// MARK: Tensors

extension PickleMachine {
  /// ('storage', class, key, device, number of elements)
  private mutating func loadStorage(_ value: Value) throws(FormatDefect) {
    guard case .tuple(let number) = value, tuples[number].count == 5,
      case .string("storage") = tuples[number][0],
      case .global(.storage(let type)) = tuples[number][1],
      case .string(let key) = tuples[number][2], case .string = tuples[number][3],
      case .integer(let count) = tuples[number][4]
    else { throw defect("a reference to something else than a storage") }
    guard let byteCount = (type ?? .u8).byteCount(shape: [count]) else {
      throw defect("the storage `\(printable(key))` of \(count) elements")
    }
    let storage = PyTorchStorage(key: key, type: type, byteCount: byteCount)
    guard storages.updateValue(storage, forKey: key).map({ $0 == storage }) ?? true else {
      throw defect("two storages `\(printable(key))`")
    }
    try push(.storage(storageKeys.count))
    storageKeys.append(key)
  }

  private mutating func reduce() throws(FormatDefect) {
    let operands = try pop(2)
    guard case .global(let global) = operands[0], case .tuple(let number) = operands[1] else {
      throw defect("a call of \(operands[0].text)")
    }
    let arguments = tuples[number]
    switch global {
    case .orderedDictionary:
      guard arguments.isEmpty else { throw defect("an OrderedDict with arguments") }
      try pushDictionary()
    case .size:
      guard arguments.count == 1, case .tuple = arguments[0] else {
        throw defect("a Size of something else than a tuple")
      }
      try push(arguments[0])
    case .rebuildParameter:
      guard arguments.count == 3, case .tensor = arguments[0] else {
        throw defect("a parameter of something else than a tensor")
      }
      try push(arguments[0])
    case .rebuildTensor, .rebuildTypedTensor: try rebuild(global, arguments)
    case .storage, .type: throw defect("a call of a type")
    }
  }

  /// (storage, offset, shape, strides, requires_grad, hooks, and, with its type, type, metadata);
  /// metadata may follow the hooks too.
  private mutating func rebuild(
    _ global: PickleGlobal, _ arguments: [Value]
  ) throws(FormatDefect) {
    guard (6...8).contains(arguments.count), case .storage(let number) = arguments[0],
      let storage = storages[storageKeys[number]], case .integer(let offset) = arguments[1],
      offset >= 0, let shape = naturals(arguments[2]), let strides = naturals(arguments[3]),
      shape.count == strides.count, shape.count <= Self.dimensionsMax,
      case .dictionary(let hooks) = arguments[5], dictionaries[hooks].members.isEmpty
    else { throw defect("a tensor of other arguments than torch.save gives") }
    var type = storage.type
    if global == .rebuildTypedTensor {
      guard type == nil, arguments.count >= 7, case .global(.type(let own)) = arguments[6] else {
        throw defect("a tensor of no type, or of two")
      }
      type = own
    }
    guard let type else { throw defect("a tensor of a storage without a type") }
    let view = PyTorchTensor(
      name: "", type: type, shape: shape, strides: strides, storageKey: storage.key,
      storageOffset: offset)
    guard let reach = view.reach, reach <= storage.byteCount else {
      throw defect(
        "a tensor of shape \(shape), strides \(strides) from element \(offset) on, outside the "
          + "\(storage.byteCount) bytes of the storage `\(printable(storage.key))`")
    }
    try push(.tensor(views.count))
    views.append(view)
  }

  private func naturals(_ value: Value) -> [Int]? {
    guard case .tuple(let number) = value else { return nil }
    var numbers: [Int] = []
    for element in tuples[number] {
      guard case .integer(let number) = element, number >= 0 else { return nil }
      numbers.append(number)
    }
    return numbers
  }
}

extension PyTorchTensor {
  fileprivate func named(_ name: String) -> PyTorchTensor {
    PyTorchTensor(
      name: name, type: type, shape: shape, strides: strides, storageKey: storageKey,
      storageOffset: storageOffset)
  }
}

// MARK: Pieces

extension PickleMachine {
  private mutating func push(_ value: Value) throws(FormatDefect) {
    try limit(stack.count)
    stack.append(value)
  }

  private mutating func mark() throws(FormatDefect) {
    try limit(marks.count)
    marks.append(stack.count)
  }

  /// - Throws: when a table has so many entries that no checkpoint needs one more.
  private func limit(_ count: Int) throws(FormatDefect) {
    guard count < Self.entriesMax else {
      throw defect("a pickle of more than \(Self.entriesMax) values")
    }
  }

  private func top() throws(FormatDefect) -> Value {
    guard let value = stack.last, stack.count > marks.last ?? 0 else { throw defect("no value") }
    return value
  }

  private mutating func pop() throws(FormatDefect) -> Value {
    let value = try top()
    stack.removeLast()
    return value
  }

  /// The last `count` values, the deepest first.
  private mutating func pop(_ count: Int) throws(FormatDefect) -> [Value] {
    guard stack.count - (marks.last ?? 0) >= count else {
      throw defect("fewer than \(count) values")
    }
    defer { stack.removeLast(count) }
    return Array(stack.suffix(count))
  }

  private mutating func popMarked() throws(FormatDefect) -> [Value] {
    guard let height = marks.popLast() else { throw defect("no mark") }
    defer { stack.removeSubrange(height...) }
    return Array(stack[height...])
  }

  private func defect(_ cause: String) -> FormatDefect { source.defect(cause) }
}
