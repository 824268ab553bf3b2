/* The pages' style and script. */
#include <string.h>

#include "collector/pages.h"

static const char style[] =
    ":root{color-scheme:light dark;--bg:#f7f7f5;--card:#fff;--ink:#1d2126;--soft:#6b7280;--line:#e3e4e6;--bad:#c62f3b;"
    "--bar:48%;--tint:92%;--on:#1d2126}"
    "@media(prefers-color-scheme:dark){:root{--bg:#14171b;--card:#1c2026;--ink:#e6e8eb;--soft:#939ba7;--line:#2c323a;"
    "--bad:#ff7a80;--bar:58%;--tint:22%;--on:#fff}}"
    "*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);font:14px/1.45 system-ui,sans-serif}"
    "header{display:flex;gap:24px;align-items:center;padding:12px 28px;background:var(--card);"
    "border-bottom:1px solid var(--line);position:sticky;top:0;z-index:2}"
    "header nav{display:flex;gap:4px}header nav a{padding:4px 12px;border-radius:6px;color:var(--soft)}"
    "header nav a.on{background:var(--bg);color:var(--on);font-weight:600}a{color:inherit;text-decoration:none}"
    ".live{margin-left:auto;width:9px;height:9px;border-radius:50%;background:var(--line)}"
    ".live.on{background:hsl(150 60% 45%)}"
    "main{max-width:1280px;margin:0 auto;padding:20px 28px 60px}h1{font-size:20px;margin:0 0 2px}"
    "h2{font-size:15px;margin:30px 0 10px}h3{font-size:13px;margin:0 0 4px;font-weight:600}"
    ".note{color:var(--soft);margin:0 0 14px;font-size:13px}.note a,h4 a,dd a{text-decoration:underline}"
    ".empty{color:var(--soft);padding:40px;text-align:center}b.bad{color:var(--bad)}"
    ".num{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
    ".filter{display:flex;flex-wrap:wrap;gap:6px;margin-bottom:14px}"
    ".filter a{padding:3px 12px;border:1px solid var(--line);border-radius:99px;background:var(--card);font-size:13px}"
    ".filter a.on{border-color:var(--ink);font-weight:600}"
    ".filter i,.dots i,.of-service i{display:inline-block;width:9px;height:9px;border-radius:3px;margin-right:6px;"
    "background:hsl(var(--h) 60% var(--bar))}.dots i{margin-right:3px}"
    ".service{display:inline-block;padding:0 "
    "8px;border-radius:5px;font-size:12px;line-height:20px;white-space:nowrap;vertical-align:middle;"
    "background:hsl(var(--h) 55% var(--tint));justify-self:start;overflow:hidden;text-overflow:ellipsis;max-width:100%}"
    ".list,.fall,.logs,table,figure{background:var(--card);border:1px solid var(--line);border-radius:10px}"
    ".list,.fall,.logs{overflow:hidden}"
    ".row{display:grid;grid-template-columns:100px minmax(160px,1fr) 150px 76px 50px minmax(120px,260px) 80px;gap:14px;"
    "align-items:center;padding:7px 16px;border-top:1px solid var(--line)}.row:first-child{border-top:0}"
    "a.row:hover,summary:hover{background:color-mix(in srgb,var(--ink) 4%,transparent)}"
    ".row.head{color:var(--soft);font-size:12px}.row time{color:var(--soft);font-variant-numeric:tabular-nums}"
    ".name{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}.row .name{font-weight:500}"
    ".row.bad .name{color:var(--bad)}.row.bad .name::before{content:'● ';font-size:10px;vertical-align:1px}"
    ".length{height:8px}.length i{display:block;height:8px;border-radius:4px;background:hsl(var(--h) 60% var(--bar))}"
    "summary{list-style:none;cursor:pointer}summary::-webkit-details-marker{display:none}"
    ".axis,.span>summary{display:grid;grid-template-columns:minmax(240px,36%) 1fr;gap:12px;align-items:center;"
    "padding:0 18px}.axis{height:30px;border-bottom:1px solid var(--line);color:var(--soft);font-size:11px}"
    ".axis .track{height:30px}.axis "
    "b{position:absolute;top:7px;font-weight:400;transform:translateX(-50%);white-space:nowrap}"
    ".axis b:first-child{transform:none}.axis b.last{transform:translateX(-100%)}"
    ".track{position:relative;display:block;height:100%;min-height:1px}"
    ".span>summary{height:29px}.span>summary .track{background:repeating-linear-gradient(90deg,var(--line) 0 1px,"
    "transparent 1px 25%)}"
    ".span .name{padding-left:calc(var(--d)*16px)}"
    ".span .name i{display:inline-block;width:9px;height:9px;border-radius:3px;margin-right:8px;"
    "background:hsl(var(--h) 60% var(--bar))}.span .name small{color:var(--soft);margin-left:8px}"
    ".span.bad>summary .name{color:var(--bad)}"
    ".span.bad>summary .name::after{content:'!';display:inline-block;margin-left:8px;width:15px;height:15px;"
    "border-radius:50%;background:var(--bad);color:var(--card);font:700 11px/15px system-ui;text-align:center}"
    ".track>i{position:absolute;top:7px;height:15px;min-width:2px;border-radius:3px;"
    "background:hsl(var(--h) 60% var(--bar))}.span.bad>summary .track>i{box-shadow:0 0 0 2px var(--bad)}"
    ".track>u{position:absolute;top:5px;height:19px;width:2px;margin-left:-1px;background:var(--ink);opacity:.75}"
    ".track>em{position:absolute;top:5px;font:normal 11px/19px system-ui;color:var(--soft);padding:0 7px;"
    "white-space:nowrap;font-variant-numeric:tabular-nums}.track>em.within{color:#fff}"
    ".span[open]>summary{background:color-mix(in srgb,var(--ink) 5%,transparent)}"
    ".span:target>summary{outline:2px solid hsl(var(--h) 60% var(--bar));outline-offset:-2px}"
    ".inside{padding:12px 18px 16px 34px;border-left:4px solid hsl(var(--h,212) 60% var(--bar));"
    "border-bottom:1px solid var(--line);font-size:13px}"
    ".inside h4{font-size:12px;font-weight:400;color:var(--soft);margin:12px 0 4px}.inside h4 b{color:var(--ink)}"
    ".inside details summary{color:var(--soft);font-size:12px;margin-top:10px;text-decoration:underline dotted}"
    "dl{display:grid;grid-template-columns:minmax(120px,240px) 1fr;gap:2px 14px;margin:0}"
    "dl.facts{grid-template-columns:repeat(auto-fill,minmax(90px,max-content) minmax(150px,1fr));color:var(--soft)}"
    "dt{color:var(--soft);overflow-wrap:anywhere}dd{margin:0;font-family:ui-monospace,monospace;font-size:12.5px;"
    "overflow-wrap:anywhere;white-space:pre-wrap;color:var(--ink)}"
    ".legend{display:flex;gap:6px;flex-wrap:wrap;margin:0 0 12px}"
    ".log{border-top:1px solid var(--line)}.log:first-child{border-top:0}"
    ".log>summary{display:grid;grid-template-columns:84px 64px 150px 1fr;gap:12px;align-items:center;padding:5px 18px}"
    ".log>summary .num{color:var(--soft)}.level{font-size:11px;text-transform:uppercase;letter-spacing:.04em}"
    ".level.warn{color:hsl(35 85% 45%)}.level.error{color:var(--bad);font-weight:700}.level.debug{color:var(--soft)}"
    ".charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(330px,1fr));gap:14px}"
    "figure{margin:0;padding:12px 14px}figure svg{width:100%;display:block}"
    "svg text{font:10px system-ui;fill:var(--soft)}svg .end{text-anchor:end}"
    ".grid{stroke:var(--line);stroke-width:1;fill:none}"
    "polyline{fill:none;stroke:var(--c);stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}"
    "polyline.dashed{stroke-dasharray:3 3;opacity:.8}"
    ".k0{--c:hsl(212 70% var(--bar))}.k1{--c:hsl(28 80% 52%)}.k2{--c:hsl(150 55% 42%)}.k3{--c:hsl(275 55% 58%)}"
    ".k4{--c:hsl(340 65% 55%)}.k5{--c:hsl(180 60% 40%)}"
    "figcaption{display:grid;gap:1px;margin-top:6px;font-size:12px}"
    ".key{display:grid;grid-template-columns:14px 1fr auto;align-items:center;color:var(--soft);overflow-wrap:anywhere}"
    ".key i{width:9px;height:3px;border-radius:2px;background:var(--c)}.key b{color:var(--ink);font-weight:500;"
    "font-variant-numeric:tabular-nums;white-space:nowrap;margin-left:10px}"
    "table{width:100%;border-collapse:separate;border-spacing:0;font-size:13px}"
    "td,th{padding:5px 12px;text-align:left;border-top:1px solid var(--line);vertical-align:middle}"
    "thead th{border-top:0;color:var(--soft);font-weight:400;font-size:12px}td.num,th.num{text-align:right}"
    ".labels{overflow-wrap:anywhere}code{font:11.5px ui-monospace,monospace;background:var(--bg);border-radius:4px;"
    "padding:1px 5px;display:inline-block}"
    ".spark{width:120px;height:22px}.find{display:flex;gap:8px;align-items:center;margin-bottom:10px}"
    ".find .note{margin:0}input,button{font:inherit;padding:3px 10px;border:1px solid var(--line);border-radius:6px;"
    "background:var(--card);color:inherit}"
    "@media(max-width:900px){.row{grid-template-columns:90px 1fr 70px}.row .dots,.row .length,.row .service,"
    ".row>.num:nth-of-type(4),.row.head span:nth-child(n+3):nth-child(-n+6){display:none}}";

/* Lists follow while somebody looks, unless text is being typed. A link to a span opens it. */
static const char script[] =
    "const open=()=>{const row=location.hash&&document.getElementById(location.hash.slice(1));"
    "if(row){row.open=true;row.scrollIntoView({block:'center'})}};"
    "addEventListener('hashchange',open);open();"
    "const tab=document.body.dataset.tab,live=document.querySelector('.live');"
    "const follow=async()=>{if(document.hidden||document.activeElement.tagName==='INPUT')return;"
    "try{const page=new DOMParser().parseFromString(await(await fetch(location.href)).text(),'text/html');"
    "document.querySelector('main').replaceWith(page.querySelector('main'));live.classList.add('on')}"
    "catch{live.classList.remove('on')}};"
    "if(tab){live.classList.add('on');setInterval(follow,tab==='traces'?2000:5000)}";

static enum err answer_text(struct response *res, const char *type, const char *text)
{
    res->content_type = type;
    res->body = (struct bytes){text, strlen(text)};
    return ERR_OK;
}

enum err show_style(struct request *req, struct response *res)
{
    (void)req;
    return answer_text(res, "text/css; charset=utf-8", style);
}

enum err show_script(struct request *req, struct response *res)
{
    (void)req;
    return answer_text(res, "text/javascript; charset=utf-8", script);
}
