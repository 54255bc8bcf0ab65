/// One name for each language, whatever the packages call it.
package enum LanguageTag {
  package static let english = "en"

  private static let canonical: [String: String] = [
    "zh": "zh_Hans", "zh_cn": "zh_Hans", "zh_hans": "zh_Hans",
    "zh_tw": "zh_Hant", "zh_hant": "zh_Hant", "zh_hk": "zh_HK",
    "pt_pt": "pt", "pt_br": "pt_BR", "no": "nb", "nb_no": "nb",
    "sr_cyrl": "sr", "sr_ec": "sr", "sr_el": "sr_Latn", "sr_latn": "sr_Latn",
    "sr@latin": "sr_Latn", "sr@latn": "sr_Latn",
    "tt_cyrl": "tt", "kk_cyrl": "kk", "ks_arab": "ks", "ug_arab": "ug", "ku_latn": "ku",
    "gom_latn": "gom",
  ]

  /// The canonical tag of `name`, the name of a locale or of a message file without its extension;
  /// nil for what is no translation: variants of English, the C locale, message documentation.
  package static func canonical(_ name: String) -> String? {
    let lower = name.replacing("-", with: "_").lowercased()
    if let known = canonical[lower] { return known }
    if lower == "c" || lower == "qqq" || lower.hasPrefix("en_") { return nil }

    let parts = lower.split(separator: "@", maxSplits: 1)
    guard let bare = parts.first.map(String.init), !bare.isEmpty else { return nil }
    if parts.count == 2 { return parts[1] == "latin" ? "\(bare)_Latn" : canonical(bare) }

    let subtags = bare.split(separator: "_")
    guard subtags.count == 2 else { return bare }
    // A region is dropped; a script or a variant is another way to write and stays.
    switch subtags[1].count {
    case 2: return String(subtags[0])
    case 4 where subtags[1].allSatisfy(\.isLetter): return "\(subtags[0])_\(subtags[1].capitalized)"
    default: return bare
    }
  }
}

extension Substring {
  fileprivate var capitalized: String { prefix(1).uppercased() + dropFirst() }
}
