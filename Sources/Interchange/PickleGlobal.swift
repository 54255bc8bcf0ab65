/// What the pickle of a checkpoint may name: functions and classes that put tensors together. All
/// others are refused, since unpickling calls them.
enum PickleGlobal: Hashable, Sendable {
  case orderedDictionary
  /// `torch._utils._rebuild_tensor_v2`
  case rebuildTensor
  /// `torch._utils._rebuild_tensor_v3`, of types that have no class of storages.
  case rebuildTypedTensor
  case rebuildParameter
  case size
  /// A class of storages: nil, of bytes.
  case storage(ElementType?)
  case type(ElementType)

  init?(module: String, name: String) {
    switch (module, name) {
    case ("collections", "OrderedDict"): self = .orderedDictionary
    case ("torch._utils", "_rebuild_tensor_v2"): self = .rebuildTensor
    case ("torch._utils", "_rebuild_tensor_v3"): self = .rebuildTypedTensor
    case ("torch._utils", "_rebuild_parameter"): self = .rebuildParameter
    case ("torch", "Size"): self = .size
    case ("torch.storage", "UntypedStorage"): self = .storage(nil)
    case ("torch", _):
      if let type = Self.storages[name] {
        self = .storage(type)
      } else if let type = ElementType(torchName: name) {
        self = .type(type)
      } else {
        return nil
      }
    default: return nil
    }
  }

  private static let storages: [String: ElementType] = [
    "BoolStorage": .bool, "ByteStorage": .u8, "CharStorage": .i8, "ShortStorage": .i16,
    "IntStorage": .i32, "LongStorage": .i64, "HalfStorage": .f16, "BFloat16Storage": .bf16,
    "FloatStorage": .f32, "DoubleStorage": .f64,
  ]
}
