from dashboard.glossary import GLOSSARY, found


def test_every_word_is_found_by_its_name_and_by_its_meaning():
    assert found("") == GLOSSARY
    assert all(term in found(term.upper()) for term in GLOSSARY)
    assert "GAT" in found("attention")
    assert found("no such word") == {}


def test_words_are_in_order():
    assert list(GLOSSARY) == sorted(GLOSSARY, key=str.casefold)
