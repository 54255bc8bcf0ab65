import Corpus
import Testing

@Test(arguments: [
  ("de", "de"), ("zh", "zh_Hans"), ("zh-cn", "zh_Hans"), ("zh_CN", "zh_Hans"),
  ("zh-hans", "zh_Hans"), ("zh-hant", "zh_Hant"), ("zh_TW", "zh_Hant"), ("zh-hk", "zh_HK"),
  ("pt", "pt"), ("pt_PT", "pt"), ("pt-br", "pt_BR"), ("pt_BR", "pt_BR"), ("no", "nb"),
  ("nb_NO", "nb"), ("sr-ec", "sr"), ("sr-el", "sr_Latn"), ("sr@latin", "sr_Latn"),
  ("uz@latin", "uz_Latn"), ("ca@valencia", "ca"), ("tt-cyrl", "tt"), ("ku-latn", "ku"),
  ("ku-arab", "ku_Arab"), ("de_AT", "de"), ("be-tarask", "be_tarask"), ("de-formal", "de_formal"),
])
func tagsBecomeCanonical(_ name: String, _ tag: String) {
  #expect(LanguageTag.canonical(name) == tag)
}

@Test(arguments: ["C", "qqq", "en_GB", "en-ca", ""])
func whatIsNoTranslationHasNoTag(_ name: String) {
  #expect(LanguageTag.canonical(name) == nil)
}
