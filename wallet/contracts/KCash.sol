// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title KCash: whole units only, a fixed supply, nobody can mint or freeze.
contract KCash is ERC20, ERC20Permit {
    constructor(address treasury, uint256 supply) ERC20("KCash", "KCASH") ERC20Permit("KCash") {
        _mint(treasury, supply);
    }

    function decimals() public pure override returns (uint8) {
        return 0;
    }
}
