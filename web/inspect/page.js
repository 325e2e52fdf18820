// Drawn graphs: zoom, move, search, details of a node.
"use strict";
(() => {
    const main = document.getElementById("graph");
    const svg = main.querySelector("svg");
    const detail = document.getElementById("detail");
    if (!svg) {
        return;
    }
    const nodes = JSON.parse(document.getElementById("nodes").textContent);
    const width = svg.viewBox.baseVal.width;
    const height = svg.viewBox.baseVal.height;
    let zoom = 1;

    // ---- zoom and move ----

    // Keeps the point under (x, y) of the window in place.
    function setZoom(next, x, y) {
        const before = svg.getBoundingClientRect();
        const clamped = Math.min(4, Math.max(0.02, next));
        const fx = (x - before.left) / zoom;
        const fy = (y - before.top) / zoom;
        zoom = clamped;
        svg.setAttribute("width", width * zoom);
        svg.setAttribute("height", height * zoom);
        const after = svg.getBoundingClientRect();
        main.scrollLeft += after.left + fx * zoom - x;
        main.scrollTop += after.top + fy * zoom - y;
    }

    function zoomAtCentre(factor) {
        const box = main.getBoundingClientRect();
        setZoom(zoom * factor, box.left + box.width / 2, box.top + box.height / 2);
    }

    function fitWidth() {
        setZoom(Math.max(0.6, Math.min(1, main.clientWidth / width)), 0, 0);
        main.scrollLeft = (main.scrollWidth - main.clientWidth) / 2;
    }

    function fitAll() {
        setZoom(Math.min(1, main.clientWidth / width, main.clientHeight / height), 0, 0);
    }

    main.addEventListener("wheel", (event) => {
        if (event.ctrlKey || event.metaKey) {
            event.preventDefault();
            setZoom(zoom * Math.exp(-event.deltaY / 300), event.clientX, event.clientY);
        }
    }, { passive: false });

    let held = null;
    main.addEventListener("pointerdown", (event) => {
        if (event.button === 0) {
            held = { x: event.clientX, y: event.clientY, left: main.scrollLeft, top: main.scrollTop };
        }
    });
    window.addEventListener("pointermove", (event) => {
        if (held) {
            main.classList.add("moving");
            main.scrollLeft = held.left - event.clientX + held.x;
            main.scrollTop = held.top - event.clientY + held.y;
        }
    });
    window.addEventListener("pointerup", () => {
        held = null;
        main.classList.remove("moving");
    });

    // ---- details ----

    function element(name, text, parent) {
        const made = document.createElement(name);
        made.textContent = text;
        parent.appendChild(made);
        return made;
    }

    function addRows(title, rows) {
        if (rows.length === 0) {
            return;
        }
        element("h2", title, detail);
        const table = element("table", "", detail);
        table.className = "facts";
        for (const [key, value] of rows) {
            const row = table.insertRow();
            row.insertCell().textContent = key;
            element("code", value, row.insertCell());
        }
    }

    function number(value) {
        return value < 0 ? "unknown" : value.toLocaleString("en");
    }

    function show(index) {
        const node = nodes[index];
        detail.hidden = false;
        detail.replaceChildren();
        element("h2", node.type, detail);
        const facts = [];
        if (node.note) {
            facts.push(["time", node.note]);
        }
        if (node.name) {
            facts.push(["name", node.name]);
        }
        if (node.opset) {
            facts.push(["operator set", node.opset]);
        }
        if (node.macs !== undefined) {
            facts.push(["MACs", number(node.macs)], ["operations", number(node.flops)],
                ["parameters", number(node.parameters)], ["weight bytes", number(node.bytes)]);
        }
        const table = element("table", "", detail);
        table.className = "facts";
        for (const [key, value] of facts) {
            const row = table.insertRow();
            row.insertCell().textContent = key;
            row.insertCell().textContent = value;
        }
        addRows("Attributes", node.attributes);
        addRows("Inputs", node.inputs);
        addRows("Outputs", node.outputs);
    }

    function select(box, scroll) {
        for (const old of svg.querySelectorAll(".on")) {
            old.classList.remove("on");
        }
        if (!box) {
            detail.hidden = true;
            return;
        }
        const index = box.dataset.i;
        box.classList.add("on");
        for (const edge of svg.querySelectorAll(`.e[data-a="${index}"], .e[data-b="${index}"]`)) {
            edge.classList.add("on");
        }
        show(Number(index));
        if (scroll) {
            box.scrollIntoView({ block: "center", inline: "center" });
        }
    }

    svg.addEventListener("click", (event) => select(event.target.closest(".b"), false));
    svg.addEventListener("keydown", (event) => {
        if (event.key === "Enter") {
            select(event.target.closest(".b"), false);
        }
    });

    // ---- search ----

    const search = document.getElementById("search");
    let found = -1;
    function findNext() {
        const wanted = search.value.trim().toLowerCase();
        for (let step = 1; wanted && step <= nodes.length; step++) {
            const i = (found + step) % nodes.length;
            const node = nodes[i];
            const texts = [node.type, node.name || "", ...node.outputs.map((port) => port[0])];
            if (texts.some((text) => text.toLowerCase().includes(wanted))) {
                found = i;
                select(svg.querySelector(`.b[data-i="${i}"]`), true);
                return;
            }
        }
    }
    search.addEventListener("keydown", (event) => {
        if (event.key === "Enter") {
            findNext();
        }
    });
    search.addEventListener("input", () => {
        found = -1;
    });

    document.getElementById("in").addEventListener("click", () => zoomAtCentre(1.25));
    document.getElementById("out").addEventListener("click", () => zoomAtCentre(0.8));
    document.getElementById("fit").addEventListener("click", fitAll);
    document.getElementById("wide").addEventListener("click", fitWidth);
    fitWidth();
    main.scrollTop = 0;
})();
