// The page that `spry report --html` writes: tables that sort, a timeline that widens, and layers
// that are shown in all places at once.
"use strict";
(() => {
    // ---- tables ----

    // What a cell sorts by: its number, else its text; nothing comes last.
    function keyOf(row, column) {
        const cell = row.cells[column];
        if (cell.dataset.value !== undefined) {
            return Number(cell.dataset.value);
        }
        const text = cell.textContent.trim();
        return text === "" ? null : text;
    }

    function compare(a, b, sign) {
        if (a === null || b === null) {
            return (a === null) - (b === null);
        }
        const order = typeof a === "number" && typeof b === "number"
            ? a - b
            : String(a).localeCompare(String(b));
        return sign * order;
    }

    function sortBy(table, heading) {
        const column = heading.cellIndex;
        const isNumber = heading.classList.contains("n");
        const now = heading.getAttribute("aria-sort");
        const next = now === null
            ? (isNumber ? "descending" : "ascending")
            : (now === "descending" ? "ascending" : "descending");
        for (const other of table.tHead.rows[0].cells) {
            other.removeAttribute("aria-sort");
        }
        heading.setAttribute("aria-sort", next);
        const body = table.tBodies[0];
        const sign = next === "descending" ? -1 : 1;
        const rows = [...body.rows].map((row) => [keyOf(row, column), row]);
        rows.sort((a, b) => compare(a[0], b[0], sign));
        body.append(...rows.map((pair) => pair[1]));
    }

    for (const table of document.querySelectorAll("table.sortable")) {
        for (const heading of table.tHead.rows[0].cells) {
            const button = document.createElement("button");
            button.type = "button";
            button.append(...heading.childNodes);
            heading.append(button);
            button.addEventListener("click", () => sortBy(table, heading));
        }
    }

    const filter = document.getElementById("filter");
    const layers = document.getElementById("all-layers");
    filter.addEventListener("input", () => {
        const wanted = filter.value.trim().toLowerCase();
        for (const row of layers.tBodies[0].rows) {
            row.hidden = !row.textContent.toLowerCase().includes(wanted);
        }
    });

    // ---- the timeline ----

    const timeline = document.querySelector(".timeline");
    const picture = timeline.querySelector("svg");
    let width = 1;
    for (const button of document.querySelectorAll("[data-zoom]")) {
        button.addEventListener("click", () => {
            const factor = Number(button.dataset.zoom);
            const middle = (timeline.scrollLeft + timeline.clientWidth / 2) / timeline.scrollWidth;
            width = factor === 0 ? 1 : Math.min(256, Math.max(1, width * factor));
            picture.setAttribute("width", `${100 * width}%`);
            timeline.scrollLeft = middle * timeline.scrollWidth - timeline.clientWidth / 2;
        });
    }

    // ---- layers ----

    const chosen = document.getElementById("chosen");

    function choose(layer, from) {
        for (const old of document.querySelectorAll("tr.on, .span.on")) {
            old.classList.remove("on");
        }
        for (const same of document.querySelectorAll(`tr[data-layer="${layer}"], ` +
                                                     `.span[data-layer="${layer}"]`)) {
            same.classList.add("on");
        }
        const title = timeline.querySelector(`.span[data-layer="${layer}"] title`);
        if (title) {
            chosen.textContent = title.textContent.replaceAll("\n", "; ");
        }
        const row = layers.querySelector(`tr[data-layer="${layer}"]`);
        if (row && row !== from) {
            const box = row.closest(".scroll");
            row.hidden = false;
            box.scrollTop = row.offsetTop - box.clientHeight / 2;
        }
    }

    document.addEventListener("click", (event) => {
        const part = event.target.closest("[data-layer]");
        if (part) {
            choose(part.dataset.layer, part);
        }
    });

    // Arrows walk along the timeline.
    const spans = [...timeline.querySelectorAll(".span:not(.helper)")];
    let at = -1;
    timeline.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (step && spans.length > 0) {
            event.preventDefault();
            at = Math.min(spans.length - 1, Math.max(0, at + step));
            choose(spans[at].dataset.layer, null);
            const place = spans[at].x.baseVal.value;
            if (place < timeline.scrollLeft || place > timeline.scrollLeft + timeline.clientWidth) {
                timeline.scrollLeft = place - timeline.clientWidth / 2;
            }
        }
    });
})();
