// The summary of mistakes has the focus when its page opens.
"use strict";

document.querySelector("[data-focus]")?.focus();
