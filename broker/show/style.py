"""How the page looks, on a screen and on paper. Its hash stands in the page's Content-Security-Policy."""

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: #1a1a1a; font: 16px/1.45 system-ui, "Noto Sans", "DejaVu Sans", sans-serif; }
.band { background: #000; text-align: center; padding: .35rem; position: sticky; z-index: 1; }
.band.top { top: 0; }
.band.bottom { bottom: 0; }
.tlp { font: 700 1.05rem/1.2 ui-monospace, "DejaVu Sans Mono", monospace; letter-spacing: .04em; color: #fff; }
.tlp.red { color: #ff2b2b; }
.tlp.amber, .tlp.amber-strict { color: #ffc000; }
.tlp.green { color: #33ff00; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem 1.25rem 2rem; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0 0; }
h2 { font-size: 1.15rem; margin: 1.8rem 0 .4rem; padding-bottom: .2rem; border-bottom: 2px solid #1a1a1a; }
h3, h4, h5, h6 { font-size: 1rem; margin: 1rem 0 .3rem; }
.address { font: 1rem ui-monospace, "DejaVu Sans Mono", monospace; color: #444; margin: .2rem 0 0; }
.unreal { background: #ffe08a; border: 2px solid #7a5200; font-weight: 700; text-align: center; padding: .5rem; }
table { border-collapse: collapse; width: 100%; }
th { hyphens: auto; }
th, td { text-align: start; vertical-align: top; padding: .3rem .6rem .3rem 0; }
table.facts th { width: 15rem; font-weight: 400; color: #555; }
table.facts tr + tr { border-top: 1px solid #e2e2e2; }
table.rows { border: 1px solid #b5b5b5; font-size: .95rem; }
table.rows > * > tr > * { min-width: 6.5em; }
table.rows > * > tr > :first-child { min-width: 0; width: 2em; }
table.rows > thead th { background: #ececec; font-weight: 600; padding: .3rem .5rem; }
table.rows > tbody { border-top: 1px solid #b5b5b5; }
table.rows > tbody > tr > * { padding: .3rem .5rem; }
tr.below > td { padding-top: 0; }
bdi { white-space: pre-wrap; }
code, .code { font: .85em ui-monospace, "DejaVu Sans Mono", monospace; color: #555; }
ul, ol { margin: 0; padding-inline-start: 1.4rem; }
ul.values { list-style: none; padding: 0; }
ul.short > li { display: inline; }
ul.short > li + li::before { content: ", "; }
ol.route li { padding: .15rem 0; }
.mark, .standing { font-size: .85em; padding: 0 .4em; border: 1px solid currentColor; border-radius: .2em; white-space: nowrap; }
.confirmed .mark, .standing.verified { color: #0a5c2b; }
.unconfirmed .mark { color: #7a4300; border-style: dashed; }
.standing.found { color: #555; border-color: transparent; padding: 0; }
.standing.believed-false { color: #fff; background: #a30000; border-color: #a30000; font-weight: 700; }
.nominal { border: 3px solid #a30000; padding: 0 1rem 1rem; margin-top: 2rem; }
.nominal .warning { color: #a30000; font-weight: 700; margin: .3rem 0; }
.foot { margin-top: 2.5rem; color: #555; font-size: .85rem; }
@page { size: A4; margin: 8mm 12mm; }
@media print {
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; display: table-row-group; }
  .band { position: fixed; left: 0; right: 0; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .band.top { top: 0; }
  .band.bottom { bottom: 0; }
  .sheet { display: table; width: 100%; table-layout: fixed; }
  .spacer { height: 13mm; }
  .spacer.head { display: table-header-group; }
  .spacer.tail { display: table-footer-group; }
  .spacer.head, .spacer.tail { break-inside: avoid; }
  .spacer::before { content: ""; display: block; height: 13mm; }
  h2, h3, h4 { break-after: avoid; }
  tr, li { break-inside: avoid; }
  .standing.believed-false, .unreal { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
