import Corpus
import Testing

@Test(arguments: [
  ("The lake froze before dawn.", "The lake froze before dawn."),
  ("  The\n lake\t froze   again ", "The lake froze again"),
  ("_Save the page for later", "Save the page for later"),
  ("Save the &page for later", "Save the page for later"),
  ("The \"quoted\" NASA report arrived", "The \"quoted\" NASA report arrived"),
])
func sentencesAreKept(_ raw: String, _ clean: String) {
  #expect(TextCleaning.english(raw) == clean)
}

@Test(arguments: [
  "Only three words", "Delete {{PLURAL}} pages now please", "Delete $1 pages now please",
  "Open %s in the editor", "About 10 % of the pages", "Read https://example.org for the details",
  "Press <b>this</b> big button",
  "Use the --force option with care", "Set the max_size value to ten",
  "The letter &amp; comes out odd",
  "Set the value of MAXSIZE here", "Write to someone@example.org about this",
  "See [[Help:Contents]] for the details", "This is ''very'' important for you",
])
func traceOfMarkupIsRejected(_ raw: String) {
  #expect(TextCleaning.english(raw) == nil)
}

@Test func lengthsAreCountedInCharacters() {
  let words = String(repeating: "wörd ", count: 120)  // 599 characters once trimmed, 719 bytes
  #expect(TextCleaning.english(words) != nil)
  #expect(TextCleaning.english(words + "xx") == nil)
  let long = String(repeating: "б", count: 900)
  #expect(TextCleaning.translation(long, of: "x") == long)
  #expect(TextCleaning.translation(long + "б", of: "x") == nil)
}

@Test func translationsAreNoCopies() {
  let english = "The lake froze again"
  #expect(
    TextCleaning.translation(" Der  See fror wieder zu", of: english) == "Der See fror wieder zu")
  #expect(TextCleaning.translation("Die Brücke ist zu 10 % fertig", of: english) != nil)
  for raw in [english, " \(english)\n", "", "  ", "Der <b>See</b> fror", "Der See von $1"] {
    #expect(TextCleaning.translation(raw, of: english) == nil)
  }
}

@Test func nearCopiesFoldTogether() {
  #expect(TextCleaning.folded("Save the page.") == TextCleaning.folded("save the  Page"))
  #expect(TextCleaning.folded("Save the page") != TextCleaning.folded("Save the pages"))
}
