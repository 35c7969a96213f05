"""Keys by f-string: two different calls share one key, and one tenant reads what belongs to another."""

from __future__ import annotations

from holdfast import Holdfast


def read_document(r, db, tenant, name):
    key = f"doc:{tenant}:{name}"
    cached = r.get(key)
    if cached is not None:
        return cached
    text = db.load((tenant, name))
    r.set(key, text, ex=300)
    return text


ROWS = {("acme", "legal:contract"): "the contract of acme", ("acme:legal", "contract"): "another company's"}


def test_one_tenant_reads_what_belongs_to_another(r, db):
    db.rows = ROWS

    assert read_document(r, db, "acme:legal", "contract") == "another company's"
    assert read_document(r, db, "acme", "legal:contract") == "another company's"


def test_with_holdfast_different_calls_have_different_keys(hf: Holdfast, db):
    db.rows = ROWS
    documents = hf.cache("documents", ttl="5m")

    @documents.cached("doc:{tenant}:{name}")
    def read(tenant: str, name: str) -> str:
        return db.load((tenant, name))

    assert read("acme:legal", "contract") == "another company's"
    assert read("acme", "legal:contract") == "the contract of acme"
    assert read.key("acme", "legal:contract") == "doc:acme:legal%3Acontract"
